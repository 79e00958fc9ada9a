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
