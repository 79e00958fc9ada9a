// What comes instead of a handshake: noise, cuts, floods, other protocols. Refused with a reason, never a
// crash.
#include "test/unit/tls/shake.h"

#include "lib/base/random.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

struct World {
    Ca ca;
    std::shared_ptr<const Credential> a = ca.credential(alice), b = ca.credential(bob);
    OpensslHandshakes maker;

    Side server() { return {maker.server(b, test_now), {}, false, {Reason::none, 0, {}}, {}}; }
    Side client() {
        return {maker.client(a, {identity(bob)}, test_now), {}, false, {Reason::none, 0, {}}, {}};
    }
};

Buffer bytes(std::initializer_list<int> list) {
    Buffer out;
    for (int b : list) out.push_back(std::byte(b));
    return out;
}

}  // namespace

TEST_CASE("another protocol on the port is refused at its first bytes", "[handshake]") {
    World world;
    const std::string text =
        GENERATE(as<std::string>{}, "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 "SSH-2.0-OpenSSH_9.2\r\n", std::string(300, '\0'));
    Side server = world.server();
    append(server.input, as_bytes(text));
    const Buffer said = server.turn();
    REQUIRE(server.error.reason == Reason::tls_handshake);
    REQUIRE(said.size() <= 7);  // an alert, or nothing
    REQUIRE_FALSE(server.why.empty());
    // It stays refused.
    REQUIRE(server.handshake->advance(as_bytes(text)).error() == server.error);
}

TEST_CASE("a record that claims to be too long is refused before its body comes", "[handshake]") {
    World world;
    Side server = world.server();
    append(server.input, bytes({22, 3, 1, 0xff, 0xff}));
    (void)server.turn();
    REQUIRE(server.error.reason == Reason::tls_handshake);
}

TEST_CASE("a handshake that never ends is refused at 64 KB", "[handshake]") {
    World world;
    Side server = world.server();
    // A ClientHello that claims 16 MB minus one, in records of 16 KB: OpenSSL refuses by its own bound or we
    // by ours.
    Buffer record(header_size + 16384);
    record[0] = std::byte{22};
    put_big_endian(&record[1], 0x0301, 2);
    put_big_endian(&record[3], 16384, 2);
    record[5] = std::byte{1};
    put_big_endian(&record[6], 0xffffff, 3);
    std::size_t fed = 0;
    while (!server.over() && fed < (1u << 20)) {
        append(server.input, record);
        (void)server.turn();
        fed += record.size();
    }
    REQUIRE(server.over());
    REQUIRE(fed <= handshake_bytes_max + record.size());
}

TEST_CASE("endless change_cipher_spec and empty records end", "[handshake]") {
    World world;
    Side server = world.server();
    Side client = world.client();
    append(server.input, client.turn());
    (void)server.turn();
    REQUIRE_FALSE(server.over());
    const Buffer dummy = bytes({20, 3, 3, 0, 1, 1});
    std::size_t fed = 0;
    while (!server.over() && fed < (1u << 20)) {
        append(server.input, dummy);
        (void)server.turn();
        fed += dummy.size();
    }
    REQUIRE(server.over());
    REQUIRE(fed <= handshake_bytes_max + dummy.size());
}

TEST_CASE("a handshake cut at any byte waits and refuses nothing", "[handshake]") {
    World world;
    Side client = world.client();
    const Buffer hello = client.turn();
    for (std::size_t cut = 0; cut < hello.size(); ++cut) {
        Side server = world.server();
        append(server.input, ConstBytes(hello).first(cut));
        REQUIRE(server.turn().empty());
        REQUIRE_FALSE(server.over());
    }
}

TEST_CASE("a flipped byte anywhere in any flight never makes a handshake succeed on both sides",
          "[handshake]") {
    World world;
    SeededRandom random(5);
    Pair clean = pair_of(world.maker, world.a, world.b);
    clean.run();
    REQUIRE(clean.client.done);
    unsigned refused = 0;
    for (int round = 0; round < 300; ++round) {
        Pair pair = pair_of(world.maker, world.a, world.b);
        const unsigned flight = static_cast<unsigned>(random.below(3));
        Buffer first = pair.client.turn();
        const auto damage = [&](Buffer& wire) {
            if (!wire.empty()) wire[random.below(wire.size())] ^= std::byte(1 + random.below(255));
        };
        if (flight == 0) damage(first);
        append(pair.server.input, first);
        Buffer second = pair.server.turn();
        if (flight == 1) damage(second);
        append(pair.client.input, second);
        Buffer third = pair.client.turn();
        if (flight == 2) damage(third);
        append(pair.server.input, third);
        (void)pair.server.turn();
        // The three outer version bytes of a record are not authenticated in the handshake: those may pass.
        if (pair.client.done && pair.server.done) {
            auto client = pair.client.handshake->take();
            auto server = pair.server.handshake->take();
            REQUIRE(std::ranges::equal(client.write.secret.reveal(), server.read.secret.reveal()));
            REQUIRE(client.peer.identity == identity(bob));
        } else {
            ++refused;
        }
    }
    REQUIRE(refused > 250);
}

TEST_CASE("noise never crashes either role", "[handshake]") {
    World world;
    SeededRandom random(6);
    for (int round = 0; round < 400; ++round) {
        Side side = round % 2 == 0 ? world.server() : world.client();
        (void)side.turn();
        Buffer noise(random.below(600));
        for (std::byte& b : noise) b = std::byte(random.next());
        if (noise.size() > 9 && random.below(3) > 0) {  // let it look like a handshake record
            noise[0] = std::byte(20 + random.below(4));
            put_big_endian(&noise[1], 0x0303, 2);
            put_big_endian(&noise[3], random.below(noise.size()), 2);
            noise[5] = std::byte(random.below(25));
            put_big_endian(&noise[6], random.below(300), 3);
        }
        append(side.input, noise);
        (void)side.turn();
        REQUIRE_FALSE(side.done);
    }
}

TEST_CASE("a handshake dropped at any step leaks nothing", "[handshake]") {
    World world;
    for (int step = 0; step < 4; ++step) {
        Pair pair = pair_of(world.maker, world.a, world.b);
        Buffer up, down;
        if (step > 0) up = pair.client.turn();
        append(pair.server.input, up);
        if (step > 1) down = pair.server.turn();
        append(pair.client.input, down);
        if (step > 2) (void)pair.client.turn();
    }
    // The sanitizer's leak check at exit is the claim.
    SUCCEED();
}
