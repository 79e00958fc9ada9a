// The io_uring driver over loopback: what each operation returns, also when it is cancelled, cut or refused.
#include "lib/io/pump.h"
#include "test/unit/io/real.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <set>
#include <sys/socket.h>
#include <thread>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

Buffer pattern(std::size_t size) {
    Buffer out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = std::byte(i * 7 + i / 251);
    return out;
}

Task<Result<Buffer>> read_all(Socket& from, std::size_t most) {
    Buffer out;
    for (;;) {
        CO_TRY(Received got, co_await from.recv(most));
        if (got.end()) co_return std::move(out);
        append(out, got.bytes());
    }
}

Task<Result<Done>> write_all(Socket& to, ConstBytes bytes) {
    CO_TRY(std::size_t sent, co_await to.send(bytes));
    if (sent != bytes.size()) co_return refuse(Reason::truncated);
    to.shut_write();
    co_return Done{};
}

Task<Result<Done>> echo(Socket& socket) {
    for (;;) {
        Buffer copy;
        {
            CO_TRY(Received got, co_await socket.recv(1 << 20));
            if (got.end()) break;
            append(copy, got.bytes());
        }
        ConstBytes bytes = copy;
        CO_TRY_DONE(co_await socket.send(bytes));
    }
    socket.shut_write();
    co_return Done{};
}

Task<Result<Buffer>> there_and_back(Loop& loop, Pair& pair, ConstBytes bytes) {
    Scope scope(loop);
    check(scope.start(echo(pair.server)));
    check(scope.start(write_all(pair.client, bytes)));
    auto reading = read_all(pair.client, 100'000);
    Result<Buffer> got = co_await reading;
    co_await scope.join();
    co_return std::move(got);
}

Task<Result<Done>> expect_end(Socket& from) {
    CO_TRY(Received got, co_await from.recv(100));
    if (!got.end()) co_return refuse(Reason::bad_input);
    co_return Done{};
}

Task<Result<std::size_t>> receive_size(Socket& from, std::size_t most) {
    CO_TRY(Received got, co_await from.recv(most));
    co_return got.bytes().size();
}

Task<Result<Socket>> dial(Loop& loop, Address to) {
    ConnectOptions options;
    auto connecting = connect(loop, own_namespace, to, options);
    co_return co_await connecting;
}

Task<void> dial_into(Loop& loop, Address to, std::vector<Socket>& sockets) {
    auto connecting = dial(loop, to);
    Result<Socket> socket = co_await connecting;
    if (socket) sockets.push_back(std::move(*socket));
}

Task<Result<Done>> accept_into(Listener& listener, std::vector<Socket>& sockets, std::size_t count) {
    while (sockets.size() < count) {
        CO_TRY(Socket socket, co_await listener.accept());
        sockets.push_back(std::move(socket));
    }
    co_return Done{};
}

int int_option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

void check_tcp_options(int fd) {
    CHECK(int_option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(int_option(fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 180);
    CHECK(int_option(fd, IPPROTO_TCP, TCP_KEEPINTVL) == 180);
    CHECK(int_option(fd, IPPROTO_TCP, TCP_KEEPCNT) == 9);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

Listener listen_on(Loop& loop, Address at, const ListenOptions& options = {}) {
    auto listener = Listener::open(loop, own_namespace, at, options);
    if (!listener) FAIL(listener.error().to_string());
    return std::move(*listener);
}

Address ip6(std::string_view text, std::uint16_t port = 0) { return {*Ip::parse(text), port}; }

}  // namespace

TEST_CASE("a ring echoes four megabytes, in order, and both half-closes arrive", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    Buffer bytes = pattern(4 << 20);
    auto got = run(loop, there_and_back(loop, pair, bytes));
    REQUIRE(got);
    CHECK(*got == bytes);
}

TEST_CASE("a receive takes at most what was asked and leaves the rest for the next", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    Buffer bytes = pattern(1000);
    REQUIRE(pair.client.try_send(bytes) == 1000);
    CHECK(run(loop, receive_size(pair.server, 300)) == 300);
    CHECK(run(loop, receive_size(pair.server, 10'000)) == 700);
}

TEST_CASE("the end of one direction leaves the other open", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    pair.client.shut_write();
    CHECK(run(loop, expect_end(pair.server)));
    REQUIRE(pair.server.try_send(as_bytes("still here")) == 10);
    CHECK(run(loop, receive_size(pair.client, 100)) == 10);
    CHECK(pair.client.try_send(as_bytes("no more")).error().reason == Reason::closed);
}

TEST_CASE("a reset on close arrives as a reset, never as an end [S17]", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    pair.client.reset_on_close();
    {
        Socket gone = std::move(pair.client);
    }
    auto got = run(loop, expect_end(pair.server));
    REQUIRE_FALSE(got);
    CHECK(got.error() == Error{Reason::reset, ECONNRESET, {}});
}

TEST_CASE("a direct send takes what fits and says zero when nothing does", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    Buffer bytes = pattern(1 << 20);
    std::array<ConstBytes, 3> pieces{ConstBytes(bytes).first(9), ConstBytes(bytes).subspan(9, 0),
                                     ConstBytes(bytes).subspan(9)};
    std::size_t total = 0;
    for (int i = 0; i < 1000; ++i) {
        auto sent = pair.client.try_send(pieces);
        REQUIRE(sent);
        if (*sent == 0) break;
        total += *sent;
    }
    CHECK(total > 0);
    CHECK(pair.client.try_send(bytes) == 0);
}

TEST_CASE("sixteen buffers serve a hundred sockets that are all ready at once", "[io]") {
    Loop loop(ring({.buffers = 4, .buffer_size = 4096}));
    std::vector<Pair> pairs;
    Buffer bytes = pattern(20'000);
    for (int i = 0; i < 100; ++i) pairs.push_back(connect_pair(loop));
    std::vector<std::optional<Result<Buffer>>> got(pairs.size());
    Scope scope(loop);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        REQUIRE(pairs[i].client.try_send(bytes) == bytes.size());
        pairs[i].client.shut_write();
        check(scope.start(keep(got[i], read_all(pairs[i].server, 4096))));
    }
    loop.run_until_idle();
    for (auto& one : got) {
        REQUIRE(one);
        REQUIRE(*one);
        CHECK(**one == bytes);
    }
}

TEST_CASE("a refused connect says so, and an unreachable one too", "[io]") {
    Loop loop(ring());
    Address nobody;
    {
        Listener listener = listen_on(loop, loopback());
        nobody = *listener.local();
    }
    CHECK(run(loop, dial(loop, nobody)).error() == Error{Reason::connect_refused, ECONNREFUSED, {}});
    auto nowhere = run(loop, dial(loop, ip6("2001:db8::1", 9)));
    CHECK(nowhere.error().reason == Reason::unreachable);
}

TEST_CASE("a storm of five hundred dials is accepted whole, with our socket options on both sides", "[io]") {
    Loop loop(ring());
    Listener listener = listen_on(loop, loopback());
    std::vector<Socket> accepted, dialled;
    std::optional<Result<Done>> done;
    Scope scope(loop);
    check(scope.start(keep(done, accept_into(listener, accepted, 500))));
    for (int i = 0; i < 500; ++i) check(scope.start(dial_into(loop, *listener.local(), dialled)));
    loop.run_until_idle();
    CHECK(accepted.size() == 500);
    CHECK(dialled.size() == 500);
    check_tcp_options(accepted.front().handle());
    check_tcp_options(dialled.front().handle());
}

TEST_CASE("a listener on :: takes both families and shows IPv4 peers as IPv4 [C-5]", "[io]") {
    Loop loop(ring());
    Listener listener = listen_on(loop, ip6("::"));
    std::uint16_t port = listener.local()->port;
    for (Address to : {loopback(port), ip6("::1", port)}) {
        std::vector<Socket> accepted;
        auto client = run(loop, dial(loop, to));
        REQUIRE(client);
        REQUIRE(run(loop, accept_into(listener, accepted, 1)));
        CHECK(accepted[0].local() == to);
        CHECK(accepted[0].peer() == *client->local());
        CHECK(accepted[0].peer()->ip.is_v4() == to.ip.is_v4());
    }
}

TEST_CASE("listeners of two processes may overlap, others may not [C-3]", "[io]") {
    Loop loop(ring());
    Listener first = listen_on(loop, loopback());
    Listener second = listen_on(loop, *first.local());
    auto alone = Listener::open(loop, own_namespace, *first.local(), {.reuse_port = false});
    REQUIRE_FALSE(alone);
    CHECK(alone.error().detail == EADDRINUSE);
    CHECK(alone.error().text.starts_with("cannot listen on 127.0.0.1:"));
}

TEST_CASE("a dial from loopback comes from 127/8 at random; of IPv6 the kernel chooses the source", "[io]") {
    Loop loop(ring());
    Listener v4 = listen_on(loop, loopback()), v6 = listen_on(loop, ip6("::1"));
    ConnectOptions options{.from_loopback = true};
    std::set<Ip> sources;
    for (int i = 0; i < 5; ++i) {
        auto client = run(loop, connect(loop, own_namespace, *v4.local(), options));
        REQUIRE(client);
        CHECK(client->local()->ip.is_loopback());
        sources.insert(client->local()->ip);
    }
    CHECK(sources.size() > 1);
    auto client = run(loop, connect(loop, own_namespace, *v6.local(), options));
    REQUIRE(client);
    CHECK(client->local()->ip == ip6("::1").ip);
}

TEST_CASE("without our agent a real client, a role and an original destination are refused, not ignored [S3]",
          "[io]") {
    Loop loop(ring());
    ConnectOptions options{.real_client = loopback(7)};
    auto client = run(loop, connect(loop, own_namespace, loopback(9), options));
    REQUIRE_FALSE(client);
    CHECK(client.error() == Error{Reason::client_not_bound, ENOPROTOOPT, {}});
    auto listener = Listener::open(loop, own_namespace, loopback(), {.role = 1});
    REQUIRE_FALSE(listener);
    CHECK(listener.error().reason == Reason::missing_feature);
    Pair pair = connect_pair(loop);
    CHECK(pair.server.original_destination().error().reason == Reason::no_original_destination);
    CHECK_FALSE(pair.server.client_bound());
}

TEST_CASE("a driver may be made by one thread and run by another", "[io]") {
    auto driver = ring();
    bool equal = false;
    std::thread([&] {
        Loop loop(std::move(driver));
        Pair pair = connect_pair(loop);
        Buffer bytes = pattern(100'000);
        auto got = run(loop, there_and_back(loop, pair, bytes));
        equal = got && *got == bytes;
    }).join();
    CHECK(equal);
}

TEST_CASE("a relayed connection costs at most 2 KB of frames while it waits", "[io]") {
    Loop loop(ring());
    Pair near = connect_pair(loop), far = connect_pair(loop);
    Moved moved;
    std::optional<Result<Done>> ended;
    Scope scope(loop);
    std::size_t before = FramePool::here().alive_bytes();
    check(scope.start(keep(ended, relay(loop, near.server, far.client, moved))));
    for (int i = 0; i < 3; ++i) loop.turn_once();
    CHECK(FramePool::here().alive_bytes() - before <= 2048);
    REQUIRE(near.client.try_send(as_bytes("across")) == 6);
    near.client.shut_write();
    far.server.shut_write();
    loop.run_until_idle();
    CHECK(ended == Result<Done>(Done{}));
    CHECK(moved.out_bytes == 6);
    CHECK(run(loop, receive_size(far.server, 100)) == 6);
}
