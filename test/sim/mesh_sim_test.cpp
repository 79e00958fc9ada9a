// Two nodes of the data path under 200 seeds: any order, any delay, any cut of a read or write, any full
// socket.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>
#include <cstdlib>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;

namespace {

// SEED=4711 replays one.
std::vector<std::uint64_t> seeds(std::uint64_t count) {
    if (const char* one = std::getenv("SEED")) return {std::strtoull(one, nullptr, 10)};
    std::vector<std::uint64_t> all;
    for (std::uint64_t seed = 1; seed <= count; ++seed) all.push_back(seed);
    return all;
}

}  // namespace

TEST_CASE("every byte arrives once and in order, and half-closes are kept, under 200 seeds", "[sim]") {
    for (std::uint64_t seed : seeds(200)) {
        INFO("--seed " << seed);
        auto temper = static_cast<Temper>(seed % 4);
        SimPair pair({.seed = seed, .pipe_bytes = 1000 + seed * 300}, temper);
        auto visits = visits_of(4, 15'000);
        pair.start(visits);
        REQUIRE(pair.run());
        for (const Visit& each : visits) REQUIRE(whole(temper, each));
        for (const Address& seen : pair.served.clients) REQUIRE(seen.ip == client_ip);
        REQUIRE(pair.close());
    }
}

TEST_CASE("under resets an end that looks clean is never a truncation, for 200 seeds [S17] [W-1]", "[sim]") {
    std::size_t cut = 0;
    for (std::uint64_t seed : seeds(200)) {
        INFO("--seed " << seed);
        auto temper = static_cast<Temper>(seed % 5);
        SimPair pair({.seed = seed, .reset_permille = 10, .pipe_bytes = 4000}, temper);
        auto visits = visits_of(4, 5'000);
        pair.start(visits);
        REQUIRE(pair.run());
        for (const Visit& each : visits) {
            REQUIRE(prefix(temper, each));
            if (each.clean) REQUIRE(whole(temper, each));
            if (!each.clean) ++cut;
        }
        REQUIRE(pair.close());
    }
    CHECK(cut > 100);  // the seeds do reach what this is about
}

TEST_CASE("whichever call of a node fails, nothing is lost silently and nothing is left behind", "[sim]") {
    for (std::size_t node : {0u, 1u}) {
        std::uint64_t calls = 1;
        for (std::uint64_t nth = 1; nth <= calls; ++nth) {
            INFO("node " << node << ", call " << nth);
            SimPair pair({.seed = 3, .pipe_bytes = 2000}, Temper::echo);
            auto visits = visits_of(2, 3'000);
            auto& driver = pair.world.node(node).driver();
            std::uint64_t before = driver.calls();
            driver.fail_the(nth);
            pair.start(visits);
            REQUIRE(pair.run());
            calls = std::max(calls, driver.calls() - before);
            for (const Visit& each : visits) {
                REQUIRE(prefix(Temper::echo, each));
                if (each.clean) REQUIRE(whole(Temper::echo, each));
            }
            REQUIRE(pair.close());
        }
        CHECK(calls > 20);
    }
}

TEST_CASE("whichever coroutine is refused its memory, nothing is lost silently and nothing is left",
          "[sim]") {
    std::size_t refused = 0;
    for (std::uint64_t nth = 1; nth <= 60; ++nth) {
        INFO("frame " << nth);
        SimPair pair({.seed = 5, .pipe_bytes = 2000}, Temper::echo);
        auto visits = visits_of(2, 3'000);
        pair.start(visits);
        io::FramePool::here().refuse_the(nth);
        REQUIRE(pair.run());
        io::FramePool::here().refuse_the(0);
        for (const Visit& each : visits) {
            REQUIRE(prefix(Temper::echo, each));
            // A socket whose coroutine got no frame is closed before anybody could ask for a reset: an empty
            // end.
            if (each.clean && !each.got.empty()) REQUIRE(whole(Temper::echo, each));
            if (!whole(Temper::echo, each)) ++refused;
        }
        REQUIRE(pair.close());
    }
    CHECK(refused > 20);
}

TEST_CASE("a client that policy denies never reaches the app, and nothing is dialled for it [I-5] [S16]",
          "[sim]") {
    for (std::uint64_t seed : seeds(20)) {
        INFO("--seed " << seed);
        SimPair pair({.seed = seed}, Temper::echo);
        pair.deny("client");
        auto visits = visits_of(3, 2'000);
        pair.start(visits);
        REQUIRE(pair.run());
        for (const Visit& each : visits) CHECK((each.connected && !each.clean && each.got.empty()));
        CHECK(pair.served.accepted == 0);
        CHECK(pair.refusals(1, ztunnel::Direction::inbound, Reason::policy_denied) == 3);
        CHECK(pair.refusals(0, ztunnel::Direction::outbound, Reason::connect_rejected) == 3);
        REQUIRE(pair.close());
    }
}

TEST_CASE("a policy that comes later cuts what it forbids and leaves the rest alone [R-11] [R-13]", "[sim]") {
    for (std::uint64_t seed : seeds(50)) {
        INFO("--seed " << seed);
        SimPair pair({.seed = seed}, Temper::late);
        mesh::Workload other_says = SimWorld::workload("other", other_ip, "other");
        SimPod& other = pair.world.enrol(0, other_says);
        pair.publish(other_says);
        Visit forbidden, allowed;
        forbidden.sent = allowed.sent = payload(1, 200'000);
        pair.start(forbidden);
        pair.start(allowed, other.where, server_at);
        REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 2; }));
        pair.deny("client");
        REQUIRE(pair.run());
        CHECK_FALSE(forbidden.clean);
        CHECK(whole(Temper::late, allowed));
        CHECK(pair.refusals(1, ztunnel::Direction::inbound, Reason::policy_changed) == 1);
        REQUIRE(pair.close());
    }
}
