// Packets over AF_UNIX with descriptors, and unix stream sockets by path.
#include "lib/io/seqpacket.h"
#include "lib/io/unix.h"
#include "test/unit/io/real.h"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

// A directory that goes with the test.
struct Place {
    Place() {
        std::string pattern = (std::filesystem::temp_directory_path() / "culvert-io-XXXXXX").string();
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        directory = pattern;
    }
    ~Place() { std::filesystem::remove_all(directory); }
    std::string path() const { return (directory / "socket").string(); }
    std::filesystem::path directory;
};

struct Ends {
    std::optional<PacketSocket> client, server;
};

Ends meet(Loop& loop, const std::string& path) {
    auto listener = PacketListener::open(loop, path, 0600);
    if (!listener) FAIL(listener.error().to_string());
    auto client = PacketSocket::dial(loop, path);
    REQUIRE(client);
    auto server = run(loop, listener->accept());
    REQUIRE(server);
    return {std::move(*client), std::move(*server)};
}

Task<Result<std::size_t>> send_many(PacketSocket& to, std::size_t count) {
    Buffer bytes(PacketSocket::packet_max);
    for (std::size_t i = 0; i < count; ++i) {
        bytes[0] = std::byte(i);
        auto sending = to.send(bytes, -1);
        CO_TRY_DONE(co_await sending);
    }
    co_return count;
}

Task<Result<std::size_t>> receive_many(PacketSocket& from, std::size_t count) {
    std::size_t right = 0;
    for (std::size_t i = 0; i < count; ++i) {
        CO_TRY(Packet packet, co_await from.receive());
        right += packet.bytes.size() == PacketSocket::packet_max && packet.bytes[0] == std::byte(i);
    }
    co_return right;
}

Task<Result<std::string>> first_word(Loop&, Listener& listener) {
    CO_TRY(Socket socket, co_await listener.accept());
    CO_TRY(Received got, co_await socket.recv(100));
    co_return std::string(as_text(got.bytes()));
}

std::size_t open_descriptors() {
    std::filesystem::directory_iterator at("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(at, std::filesystem::directory_iterator()));
}

}  // namespace

TEST_CASE("a packet arrives whole with its descriptor, close-on-exec [Z-1] [Z-4]", "[io]") {
    Place place;
    Loop loop(ring());
    Ends ends = meet(loop, place.path());
    Fd file(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    REQUIRE(run(loop, ends.client->send(as_bytes("add"), file.get())));
    auto packet = run(loop, ends.server->receive());
    REQUIRE(packet);
    CHECK(as_text(packet->bytes) == "add");
    REQUIRE(packet->descriptors.size() == 1);
    int got = packet->descriptors[0].get();
    CHECK((fcntl(got, F_GETFD) & FD_CLOEXEC) != 0);
    struct stat one{}, two{};
    CHECK((fstat(got, &one) == 0 && fstat(file.get(), &two) == 0 && one.st_ino == two.st_ino));
}

TEST_CASE("a packet that is too long, or has too many descriptors, is refused and leaks nothing [Z-4]",
          "[io]") {
    Place place;
    Loop loop(ring());
    Ends ends = meet(loop, place.path());
    CHECK(ends.client->try_send(Buffer(1025), {}).error().reason == Reason::limit);
    Fd other(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    std::size_t before = open_descriptors();
    Buffer long_one(1025);
    REQUIRE(::send(ends.client->descriptor(), long_one.data(), long_one.size(), 0) == 1025);
    auto packet = run(loop, ends.server->receive());
    REQUIRE_FALSE(packet);
    CHECK(packet.error().reason == Reason::bad_input);
    std::array<int, 4> four{other.get(), other.get(), other.get(), other.get()};
    REQUIRE(ends.client->try_send(as_bytes("x"), four));
    {
        CHECK(run(loop, ends.server->receive())->descriptors.size() == 4);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("a full queue makes the sender wait, and nothing is lost", "[io]") {
    Place place;
    Loop loop(ring());
    Ends ends = meet(loop, place.path());
    std::optional<Result<std::size_t>> sent, received;
    Scope scope(loop);
    check(scope.start(keep(sent, send_many(*ends.client, 2000))));
    check(scope.start(keep(received, receive_many(*ends.server, 2000))));
    loop.run_until_idle();
    CHECK(sent == Result<std::size_t>(2000));
    CHECK(received == Result<std::size_t>(2000));
}

TEST_CASE("the end of the other side is an empty packet, and its credentials are known [Z-1]", "[io]") {
    Place place;
    Loop loop(ring());
    Ends ends = meet(loop, place.path());
    auto peer = ends.server->peer();
    REQUIRE(peer);
    CHECK(peer->pid == getpid());
    CHECK(peer->uid == geteuid());
    ends.client.reset();
    auto packet = run(loop, ends.server->receive());
    REQUIRE(packet);
    CHECK(packet->bytes.empty());
}

TEST_CASE("a listener by path has its mode, replaces a stale socket and no living one", "[io]") {
    Place place;
    {
        auto first = listen_unix(place.path(), 0600);
        REQUIRE(first);
        struct stat about{};
        REQUIRE(stat(place.path().c_str(), &about) == 0);
        CHECK((about.st_mode & 07777) == 0600);
        auto second = listen_unix(place.path(), 0600);
        REQUIRE_FALSE(second);
        CHECK(second.error().detail == EADDRINUSE);
    }
    CHECK(dial_unix(place.path()).error().reason == Reason::connect_refused);
    CHECK(listen_unix(place.path(), 0660));
    std::filesystem::remove(place.path());
    std::ofstream(place.path()) << "a file";
    CHECK(listen_unix(place.path(), 0600).error().reason == Reason::bad_configuration);
    CHECK(listen_unix(std::string(200, 'x'), 0600).error().reason == Reason::bad_configuration);
}

TEST_CASE("sockets and listeners take unix streams over", "[io]") {
    Place place;
    Loop loop(ring());
    auto fd = listen_unix(place.path(), 0600);
    REQUIRE(fd);
    Listener listener(loop, fd->release());
    auto dialled = dial_unix(place.path());
    REQUIRE(dialled);
    Socket client(loop, dialled->release());
    REQUIRE(client.try_send(as_bytes("status")) == 6);
    CHECK(run(loop, first_word(loop, listener)) == "status");
}
