// A client, a relay and an echo server on three loops of one simulated network, under 200 seeds: every byte
// once and in order, half-closes kept, nothing left behind. Then the n-th call that can fail does, for every
// n.
#include "lib/io/pump.h"
#include "lib/io/sim.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::io;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t connections = 3;
const Address server_at = *Address::parse("10.0.0.2:7");
const Address relay_at = *Address::parse("10.0.0.3:80");

std::byte pattern(std::size_t connection, std::size_t at) {
    return std::byte(connection * 31 + at * 7 + at / 251);
}

struct Outcome {
    Buffer sent;
    Buffer got;
    bool clean = false;  // the end was a FIN
};

Task<Result<Done>> say(Socket& to, ConstBytes bytes) {
    while (!bytes.empty()) {
        std::size_t size = std::min<std::size_t>(bytes.size(), 40'000);
        ConstBytes piece = bytes.first(size);
        CO_TRY(std::size_t sent, co_await to.send(piece));
        bytes = bytes.subspan(sent);
    }
    to.shut_write();
    co_return Done{};
}

Task<Result<Done>> hear(Socket& from, Outcome& outcome) {
    for (;;) {
        CO_TRY(Received got, co_await from.recv(100'000));
        if (got.end()) break;
        append(outcome.got, got.bytes());
    }
    outcome.clean = true;
    co_return Done{};
}

Task<void> client(Loop& loop, Namespace where, Outcome& outcome) {
    auto dial = connect(loop, where, relay_at, {});
    Result<Socket> socket = co_await dial;
    if (!socket) co_return;
    Scope saying(loop);
    ConstBytes bytes = outcome.sent;
    if (!saying.start(say(*socket, bytes))) co_return;
    Result<Done> heard = co_await hear(*socket, outcome);
    saying.cancel();
    co_await saying.join();
}

// Sends back what comes; the end of its input ends its output, and its reader must still have read
// everything.
Task<void> echo(Socket socket) {
    std::uint64_t moved = 0;
    Result<Done> ended = co_await pump(socket, socket, moved);
    if (!ended) socket.reset_on_close();
}

Task<void> forward(Loop& loop, Namespace where, Socket client_side) {
    auto dial = connect(loop, where, server_at, {});
    Result<Socket> server_side = co_await dial;
    if (!server_side) {
        client_side.reset_on_close();
        co_return;
    }
    Moved moved;
    co_await relay(loop, client_side, *server_side, moved);
}

Task<void> serve_echo(Scope& scope, Listener listener) {
    for (;;) {
        Result<Socket> socket = co_await listener.accept();
        if (socket) {
            (void)scope.start(echo(std::move(*socket)));
        } else if (socket.error().reason == Reason::cancelled) {
            break;
        }
    }
}

Task<void> serve_relay(Loop& loop, Scope& scope, Namespace where, Listener listener) {
    for (;;) {
        Result<Socket> socket = co_await listener.accept();
        if (socket) {
            (void)scope.start(forward(loop, where, std::move(*socket)));
        } else if (socket.error().reason == Reason::cancelled) {
            break;
        }
    }
}

// Who fails, and at which call.
struct Fault {
    std::size_t loop = 0;
    std::uint64_t nth = 0;  // 0: nothing fails
};

struct World {
    explicit World(const SimOptions& options)
        : network(options), a(network.add("a", {*Ip::parse("10.0.0.1")})),
          b(network.add("b", {server_at.ip})), r(network.add("r", {relay_at.ip})) {
        for (auto& loop : loops) loop = std::make_unique<Loop>(network.driver(SimNetwork::Who::app));
    }
    SimDriver& driver(std::size_t i) { return static_cast<SimDriver&>(loops[i]->driver()); }

    // The number of calls that could have failed on each loop.
    std::array<std::uint64_t, 3> run(std::span<Outcome> outcomes, Fault fault) {
        Loop& client_loop = *loops[0];
        Loop& relay_loop = *loops[1];
        Loop& server_loop = *loops[2];
        Scope clients(client_loop), relays(relay_loop), servers(server_loop);
        if (fault.nth) driver(fault.loop).fail_the(fault.nth);
        if (auto listener = Listener::open(server_loop, b, server_at, {})) {
            (void)servers.start(serve_echo(servers, std::move(*listener)));
        }
        if (auto listener = Listener::open(relay_loop, r, relay_at, {})) {
            (void)relays.start(serve_relay(relay_loop, relays, r, std::move(*listener)));
        }
        for (Outcome& outcome : outcomes) (void)clients.start(client(client_loop, a, outcome));
        rest();
        CHECK(clients.children() == 0);
        relays.cancel();
        servers.cancel();
        rest();
        CHECK(relays.children() == 0);
        CHECK(servers.children() == 0);
        CHECK(network.sockets() == 0);
        for (std::size_t i = 0; i < loops.size(); ++i) {
            CHECK(loops[i]->tasks() == 0);
            CHECK(driver(i).in_flight() == 0);
            CHECK(driver(i).buffers_out() == 0);
        }
        return {driver(0).calls(), driver(1).calls(), driver(2).calls()};
    }
    void rest() {
        std::array<Loop*, 3> all{loops[0].get(), loops[1].get(), loops[2].get()};
        CHECK(network.run(all, 60s) == SimNetwork::Rest::idle);
    }

    SimNetwork network;
    Namespace a, b, r;
    std::array<std::unique_ptr<Loop>, 3> loops;
};

std::vector<Outcome> to_send(std::size_t size) {
    std::vector<Outcome> outcomes(connections);
    for (std::size_t c = 0; c < connections; ++c) {
        for (std::size_t i = 0; i < size * (c + 1); ++i) outcomes[c].sent.push_back(pattern(c, i));
    }
    return outcomes;
}

bool prefix(const Outcome& outcome) {
    return outcome.got.size() <= outcome.sent.size() &&
           std::equal(outcome.got.begin(), outcome.got.end(), outcome.sent.begin());
}

}  // namespace

TEST_CASE("an echo through a relay is whole, in order and half-closed under 200 seeds", "[sim]") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        INFO("seed " << seed);
        auto outcomes = to_send(20'000);
        World(SimOptions{.seed = seed, .pipe_bytes = 1000 + seed * 150}).run(outcomes, {});
        for (const Outcome& outcome : outcomes) {
            REQUIRE(outcome.clean);
            REQUIRE(outcome.got == outcome.sent);
        }
    }
}

TEST_CASE("under resets an end that looks clean is never a truncation, for 200 seeds [S17]", "[sim]") {
    std::size_t cut = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        INFO("seed " << seed);
        auto outcomes = to_send(5'000);
        World(SimOptions{.seed = seed, .reset_permille = 20, .pipe_bytes = 4000}).run(outcomes, {});
        for (const Outcome& outcome : outcomes) {
            REQUIRE(prefix(outcome));
            if (outcome.clean) REQUIRE(outcome.got == outcome.sent);
            if (!outcome.clean) ++cut;
        }
    }
    CHECK(cut > 50);  // the seeds do reach what this is about
}

TEST_CASE("the same seed is the same run", "[sim]") {
    auto one = to_send(3'000), two = to_send(3'000);
    World first(SimOptions{.seed = 7, .reset_permille = 5}),
        second(SimOptions{.seed = 7, .reset_permille = 5});
    CHECK(first.run(one, {}) == second.run(two, {}));
    CHECK(first.network.clock().now() == second.network.clock().now());
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(one[i].got == two[i].got);
}

TEST_CASE("whatever call fails, everything comes to rest and no truncation looks clean", "[sim]") {
    SimOptions options{.seed = 3, .pipe_bytes = 3000};
    auto baseline = to_send(3'000);
    auto calls = World(options).run(baseline, {});
    for (std::size_t loop = 0; loop < calls.size(); ++loop) {
        REQUIRE(calls[loop] > 5);
        for (std::uint64_t n = 1; n <= calls[loop]; ++n) {
            INFO("loop " << loop << " call " << n);
            auto outcomes = to_send(3'000);
            World(options).run(outcomes, {loop, n});
            for (const Outcome& outcome : outcomes) {
                REQUIRE(prefix(outcome));
                if (outcome.clean) REQUIRE(outcome.got == outcome.sent);
            }
        }
    }
}

TEST_CASE("whatever coroutine frame is refused, everything comes to rest", "[sim]") {
    for (std::uint64_t n = 1; n <= 40; ++n) {
        INFO("frame " << n);
        auto outcomes = to_send(500);
        FramePool::here().refuse_the(n);
        World(SimOptions{.seed = n}).run(outcomes, {});
        FramePool::here().refuse_the(0);
        for (const Outcome& outcome : outcomes) REQUIRE(prefix(outcome));
    }
    CHECK(FramePool::here().alive() == 0);
}
