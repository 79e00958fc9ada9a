// Two nodes of the data path under 200 seeds: any order, any delay, any cut of a read or write, any full
// socket.
#include "test/support/sim_apps.h"
#include "test/support/sim_world.h"

#include <catch2/catch.hpp>
#include <cstdlib>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;

namespace {

const Ip client_ip = *Ip::parse("10.1.0.1");
const Ip server_ip = *Ip::parse("10.2.0.1");
const Ip stranger_ip = *Ip::parse("10.1.0.9");
const Address server_at{server_ip, 8080};

// SEED=4711 replays one.
std::vector<std::uint64_t> seeds(std::uint64_t count) {
    if (const char* one = std::getenv("SEED")) return {std::strtoull(one, nullptr, 10)};
    std::vector<std::uint64_t> all;
    for (std::uint64_t seed = 1; seed <= count; ++seed) all.push_back(seed);
    return all;
}

// A client's pod on node 0, a server's on node 1, and a server in it.
struct Pair {
    explicit Pair(const io::SimOptions& options, Temper how, const ztunnel::Settings& settings = {})
        : world(options, settings), temper(how), clients(world.apps()), servers(world.apps()) {
        mesh::Workload client_says = SimWorld::workload("client", client_ip, "client");
        mesh::Workload server_says = SimWorld::workload("server", server_ip, "server");
        client = &world.enrol(0, client_says);
        server = &world.enrol(1, server_says);
        mesh::Delta delta;
        delta.addresses = {client_says, server_says};
        delta.addresses_complete = delta.policies_complete = true;
        world.publish(delta);
        world.network.record();
        check(servers.start(serve(servers, server->where, server_at, temper, served)));
    }

    void start(std::vector<Visit>& visits) {
        for (Visit& each : visits) check(clients.start(visit(world.apps(), client->where, server_at, each)));
    }
    // An authorization policy of the server's namespace.
    void deny(const std::string& account) {
        mesh::Match match;
        match.service_accounts.any_of = {{"test", account}};
        mesh::Policy policy{
            "no-" + account, "test", mesh::PolicyScope::name_space, mesh::PolicyAction::deny, {}};
        policy.rules = {{{{{match}}}}};
        mesh::Delta delta;
        delta.policies = {{"test/no-" + account, policy}};
        world.publish(delta);
    }
    std::uint64_t refusals(std::size_t node, ztunnel::Direction direction, Reason why) {
        return world.node(node).shard.telemetry().refusals(direction, why);
    }
    bool finished() const { return clients.children() == 0; }
    // Virtual time is cheap: an hour ends whatever has a deadline.
    void run() {
        REQUIRE(world.run(1h, [this] { return finished(); }) == io::SimNetwork::Rest::enough);
    }
    void close() {
        servers.cancel();
        clients.cancel();
        world.close();
        CHECK_FALSE(world.network.crossed(marker));
    }

    SimWorld world;
    Temper temper;
    SimPod* client = nullptr;
    SimPod* server = nullptr;
    Server served;
    io::Scope clients;
    io::Scope servers;
};

std::vector<Visit> visits_of(std::size_t count, std::size_t size) {
    std::vector<Visit> visits(count);
    for (std::size_t i = 0; i < count; ++i) visits[i].sent = payload(i, size * (i + 1));
    return visits;
}

}  // namespace

TEST_CASE("every byte arrives once and in order, and half-closes are kept, under 200 seeds", "[sim]") {
    for (std::uint64_t seed : seeds(200)) {
        INFO("--seed " << seed);
        auto temper = static_cast<Temper>(seed % 4);
        Pair pair({.seed = seed, .pipe_bytes = 1000 + seed * 300}, temper);
        auto visits = visits_of(4, 15'000);
        pair.start(visits);
        pair.run();
        for (const Visit& each : visits) REQUIRE(whole(temper, each));
        for (const Address& seen : pair.served.clients) REQUIRE(seen.ip == client_ip);
        pair.close();
    }
}

TEST_CASE("under resets an end that looks clean is never a truncation, for 200 seeds [S17] [W-1]", "[sim]") {
    std::size_t cut = 0;
    for (std::uint64_t seed : seeds(200)) {
        INFO("--seed " << seed);
        auto temper = static_cast<Temper>(seed % 5);
        Pair pair({.seed = seed, .reset_permille = 10, .pipe_bytes = 4000}, temper);
        auto visits = visits_of(4, 5'000);
        pair.start(visits);
        pair.run();
        for (const Visit& each : visits) {
            REQUIRE(prefix(temper, each));
            if (each.clean) REQUIRE(whole(temper, each));
            if (!each.clean) ++cut;
        }
        pair.close();
    }
    CHECK(cut > 100);  // the seeds do reach what this is about
}

TEST_CASE("whichever call of a node fails, nothing is lost silently and nothing is left behind", "[sim]") {
    for (std::size_t node : {0u, 1u}) {
        std::uint64_t calls = 1;
        for (std::uint64_t nth = 1; nth <= calls; ++nth) {
            INFO("node " << node << ", call " << nth);
            Pair pair({.seed = 3, .pipe_bytes = 2000}, Temper::echo);
            auto visits = visits_of(2, 3'000);
            auto& driver = pair.world.node(node).driver();
            std::uint64_t before = driver.calls();
            driver.fail_the(nth);
            pair.start(visits);
            pair.run();
            calls = std::max(calls, driver.calls() - before);
            for (const Visit& each : visits) {
                REQUIRE(prefix(Temper::echo, each));
                if (each.clean) REQUIRE(whole(Temper::echo, each));
            }
            pair.close();
        }
        CHECK(calls > 20);
    }
}

TEST_CASE("whichever coroutine is refused its memory, nothing is lost silently and nothing is left",
          "[sim]") {
    std::size_t refused = 0;
    for (std::uint64_t nth = 1; nth <= 60; ++nth) {
        INFO("frame " << nth);
        Pair pair({.seed = 5, .pipe_bytes = 2000}, Temper::echo);
        auto visits = visits_of(2, 3'000);
        pair.start(visits);
        io::FramePool::here().refuse_the(nth);
        pair.run();
        io::FramePool::here().refuse_the(0);
        for (const Visit& each : visits) {
            REQUIRE(prefix(Temper::echo, each));
            // A socket whose coroutine got no frame is closed before anybody could ask for a reset: an empty
            // end.
            if (each.clean && !each.got.empty()) REQUIRE(whole(Temper::echo, each));
            if (!whole(Temper::echo, each)) ++refused;
        }
        pair.close();
    }
    CHECK(refused > 20);
}

TEST_CASE("a client that policy denies never reaches the app, and nothing is dialled for it [I-5] [S16]",
          "[sim]") {
    for (std::uint64_t seed : seeds(20)) {
        INFO("--seed " << seed);
        Pair pair({.seed = seed}, Temper::echo);
        pair.deny("client");
        auto visits = visits_of(3, 2'000);
        pair.start(visits);
        pair.run();
        for (const Visit& each : visits) CHECK((each.connected && !each.clean && each.got.empty()));
        CHECK(pair.served.accepted == 0);
        CHECK(pair.refusals(1, ztunnel::Direction::inbound, Reason::policy_denied) == 3);
        CHECK(pair.refusals(0, ztunnel::Direction::outbound, Reason::connect_rejected) == 3);
        pair.close();
    }
}

TEST_CASE("a policy that comes later cuts what it forbids and leaves the rest alone [R-11] [R-13]", "[sim]") {
    for (std::uint64_t seed : seeds(50)) {
        INFO("--seed " << seed);
        Pair pair({.seed = seed}, Temper::late);
        mesh::Workload other_says = SimWorld::workload("other", stranger_ip, "other");
        SimPod& other = pair.world.enrol(0, other_says);
        mesh::Delta delta;
        delta.addresses = {other_says};
        pair.world.publish(delta);
        Visit forbidden, allowed;
        forbidden.sent = allowed.sent = payload(1, 200'000);
        std::vector<Visit> none;
        check(pair.clients.start(visit(pair.world.apps(), pair.client->where, server_at, forbidden)));
        check(pair.clients.start(visit(pair.world.apps(), other.where, server_at, allowed)));
        pair.world.run(1h, [&] { return pair.served.accepted == 2; });
        pair.deny("client");
        pair.run();
        CHECK_FALSE(forbidden.clean);
        CHECK(whole(Temper::late, allowed));
        CHECK(pair.refusals(1, ztunnel::Direction::inbound, Reason::policy_changed) == 1);
        pair.close();
    }
}
