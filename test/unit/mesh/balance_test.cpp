#include "lib/mesh/balance.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

#include <map>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;
using Scope = LoadBalancingScope;
using Mode = LoadBalancingMode;

namespace {

// An endpoint of service "s".
Workload endpoint(std::string_view name, std::string_view address,
                  const std::function<void(Workload&)>& change = {}) {
    return pod(name, {address}, [&](Workload& workload) {
        workload.services[key("s")] = {};
        if (change) change(workload);
    });
}

auto placed(std::string region, std::string zone, std::string network = "") {
    return [=](Workload& workload) {
        workload.locality = {region, zone, ""};
        workload.network = network;
    };
}

auto balanced(Mode mode, std::vector<Scope> preferences) {
    return [=](Service& made) { made.balancing = {preferences, mode, HealthPolicy::only_healthy}; };
}

// How often each endpoint was chosen in `rounds`; refusals are counted under "".
std::map<std::string, int> draw(const Directory& known, const Workload& source, std::uint16_t port = 80,
                                int rounds = 2000) {
    SeededRandom random(11);
    WorkloadPtr asker = make_record(source);
    ServicePtr asked = known.service(key("s"));
    std::map<std::string, int> count;
    for (int i = 0; i < rounds; ++i) {
        Result<Pick> picked = pick({*asker, *asked, port}, random);
        ++count[picked ? std::string(picked->workload->name()) : ""];
    }
    return count;
}

Reason refusal(const Directory& known, std::uint16_t port) {
    SeededRandom random(1);
    Result<Pick> picked =
        pick({*make_record(pod("client", {"10.9.9.9"})), *known.service(key("s")), port}, random);
    return picked ? Reason::none : picked.error().reason;
}

const Workload client = pod("client", {"10.9.9.9"}, placed("r1", "z1"));

}  // namespace

TEST_CASE("without a mode every endpoint is a candidate [O-15]") {
    auto count = draw(*directory({service("s", {"10.1.0.1"}), endpoint("a", "10.0.0.1", placed("r1", "z1")),
                                  endpoint("b", "10.0.0.2", placed("r2", "z2"))}),
                      client);
    CHECK(count["a"] > 800);
    CHECK(count["b"] > 800);
}

TEST_CASE("STRICT takes only endpoints that match every preference [O-15]") {
    auto strict = balanced(Mode::strict, {Scope::region, Scope::zone});
    auto near = endpoint("near", "10.0.0.1", placed("r1", "z1"));
    auto half = endpoint("half", "10.0.0.2", placed("r1", "z2"));
    auto count = draw(*directory({service("s", {"10.1.0.1"}, strict), near, half}), client);
    CHECK(count == std::map<std::string, int>{{"near", 2000}});
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}, strict), half}), 80) == Reason::no_healthy_upstream);
}

TEST_CASE("FAILOVER takes those of the highest rank that is there [O-15]") {
    auto failover = balanced(Mode::failover, {Scope::region, Scope::zone});
    auto near = endpoint("near", "10.0.0.1", placed("r1", "z1"));
    auto half = endpoint("half", "10.0.0.2", placed("r1", "z2"));
    auto far = endpoint("far", "10.0.0.3", placed("r2", "z1"));
    Service made = service("s", {"10.1.0.1"}, failover);
    CHECK(draw(*directory({made, far, half, near}), client) == std::map<std::string, int>{{"near", 2000}});
    CHECK(draw(*directory({made, far, half}), client) == std::map<std::string, int>{{"half", 2000}});
    CHECK(draw(*directory({made, far}), client) == std::map<std::string, int>{{"far", 2000}});
}

TEST_CASE("FAILOVER does not fall back to a lower rank because the highest has no weight [O-15, O-17]") {
    auto failover = balanced(Mode::failover, {Scope::region});
    auto near = endpoint("near", "10.0.0.1", [](Workload& workload) {
        workload.locality.region = "r1";
        workload.capacity = 0;
    });
    auto far = endpoint("far", "10.0.0.2", placed("r2", ""));
    CHECK(draw(*directory({service("s", {"10.1.0.1"}, failover), far, near}), client, 80, 10) ==
          std::map<std::string, int>{{"", 10}});
}

TEST_CASE("a first preference for the network outweighs all others, and its mismatch hides none [O-15]") {
    std::vector<Scope> preferences{Scope::network, Scope::region, Scope::zone};
    auto source = make_record(pod("client", {"10.9.9.9"}, placed("r", "z", "n")));
    auto of = [&](std::string network, std::string region, std::string zone) {
        return rank(*source, *make_record(pod("e", {"10.0.0.1"}, placed(region, zone, network))),
                    preferences);
    };
    CHECK(of("n", "r", "z") == 5);
    CHECK(of("n", "r", "x") == 4);
    CHECK(of("n", "x", "z") == 3);
    CHECK(of("x", "r", "z") == 2);
    CHECK(of("x", "r", "x") == 1);
    CHECK(of("x", "x", "z") == 0);
}

TEST_CASE("anywhere else a mismatch ends the comparison [O-15]") {
    auto source = make_record(pod("client", {"10.9.9.9"}, placed("r", "z", "n")));
    auto other = make_record(pod("e", {"10.0.0.1"}, placed("x", "z", "n")));
    CHECK(rank(*source, *other, {Scope::region, Scope::zone}) == 0);
    CHECK(rank(*source, *other, {Scope::zone, Scope::region, Scope::network}) == 1);
    CHECK(rank(*source, *other, {}) == 0);
}

TEST_CASE("scopes compare region, zone, subzone, node, cluster and network, and empty equals empty [O-16]") {
    auto with = [](const std::function<void(Workload&)>& change) {
        return make_record(pod("e", {"10.0.0.1"}, change));
    };
    struct Row {
        Scope scope;
        std::function<void(Workload&)> change;
    };
    auto row = GENERATE(values<Row>({
        {Scope::region, [](Workload& workload) { workload.locality.region = "x"; }},
        {Scope::zone, [](Workload& workload) { workload.locality.zone = "x"; }},
        {Scope::subzone, [](Workload& workload) { workload.locality.subzone = "x"; }},
        {Scope::node, [](Workload& workload) { workload.node = "x"; }},
        {Scope::cluster, [](Workload& workload) { workload.cluster_id = "x"; }},
        {Scope::network, [](Workload& workload) { workload.network = "x"; }},
    }));
    auto plain = with({});
    auto changed = with(row.change);
    CHECK(rank(*plain, *with({}), {row.scope}) == 1);
    CHECK(rank(*changed, *with(row.change), {row.scope}) == 1);
    CHECK(rank(*plain, *changed, {row.scope}) == 0);
}

TEST_CASE("capacity is weight, zero is never chosen, and all zero is no upstream [O-17]") {
    auto weighs = [](std::uint32_t capacity) {
        return [=](Workload& workload) { workload.capacity = capacity; };
    };
    auto count =
        draw(*directory({service("s", {"10.1.0.1"}), endpoint("one", "10.0.0.1"),
                         endpoint("three", "10.0.0.2", weighs(3)), endpoint("zero", "10.0.0.3", weighs(0))}),
             client, 80, 8000);
    CHECK(count["zero"] == 0);
    CHECK(count["one"] + count["three"] == 8000);
    CHECK(count["three"] > 5700);
    CHECK(count["three"] < 6300);
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), endpoint("zero", "10.0.0.3", weighs(0))}), 80) ==
          Reason::no_healthy_upstream);
}

TEST_CASE("unhealthy endpoints are left out unless the service allows all [O-14]") {
    auto sick = endpoint("sick", "10.0.0.1", [](Workload& workload) { workload.health = Health::unhealthy; });
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), sick}), 80) == Reason::no_healthy_upstream);
    auto all = [](Service& made) { made.balancing.health = HealthPolicy::allow_all; };
    CHECK(draw(*directory({service("s", {"10.1.0.1"}, all), sick}), client, 80, 10)["sick"] == 10);
}

TEST_CASE("a health policy that turns brings an unhealthy endpoint back without its workload [O-14, X-23]") {
    DirectoryWriter writer;
    auto sick = endpoint("sick", "10.0.0.1", [](Workload& workload) { workload.health = Health::unhealthy; });
    writer.apply({{service("s", {"10.1.0.1"}), sick}, {}, {}, {}});
    auto all = [](Service& made) { made.balancing.health = HealthPolicy::allow_all; };
    DirectoryPtr known = writer.apply({{service("s", {"10.1.0.1"}, all)}, {}, {}, {}});
    CHECK(draw(*known, client, 80, 10)["sick"] == 10);
}

TEST_CASE("an endpoint without address and hostname is no candidate, unless behind another network's gateway "
          "[O-13]") {
    auto nowhere = [](Workload& workload) { workload.addresses.clear(); };
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), endpoint("a", "10.0.0.1", nowhere)}), 80) ==
          Reason::no_healthy_upstream);
    auto named = [](Workload& workload) {
        workload.addresses.clear();
        workload.hostname = "db.example";
    };
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), endpoint("a", "10.0.0.1", named)}), 80) ==
          Reason::none);
    auto remote = [](Workload& workload) {
        workload.addresses.clear();
        workload.network = "n2";
        workload.network_gateway = GatewayAddress{NetworkAddress{"n2", ip("1.2.3.4")}, 15008};
    };
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), endpoint("a", "10.0.0.1", remote)}), 80) ==
          Reason::none);
}

TEST_CASE("the target port: the endpoint's map, the service's, an application tunnel's, or none [O-19]") {
    auto port = [](const Workload& workload, std::uint16_t wanted, bool waypoint = false) {
        auto made = service("s", {"10.1.0.1"}, [](Service& one) { one.ports = {{80, 8080, 0}, {81, 0, 0}}; });
        DirectoryPtr known = directory({made, workload});
        return target_port(*known->workload(workload.uid), *known->service(key("s")), wanted, waypoint);
    };
    auto maps =
        endpoint("a", "10.0.0.1", [](Workload& workload) { workload.services[key("s")] = {{80, 9090, 0}}; });
    CHECK(port(maps, 80) == 9090);
    CHECK(port(endpoint("a", "10.0.0.1"), 80) == 8080);
    CHECK(port(endpoint("a", "10.0.0.1"), 81) ==
          std::nullopt);  // a named port that this endpoint does not map
    CHECK(port(endpoint("a", "10.0.0.1"), 82) == std::nullopt);
    auto tunnels = [](std::uint16_t to) {
        return [=](Workload& workload) {
            workload.services[key("s")] = {};
            workload.application_tunnel = ApplicationTunnel{ApplicationTunnel::Protocol::proxy, to};
        };
    };
    CHECK(port(endpoint("a", "10.0.0.1", tunnels(15088)), 82) == 82);
    CHECK(port(endpoint("a", "10.0.0.1", tunnels(0)), 82) == std::nullopt);
    CHECK(port(endpoint("a", "10.0.0.1", tunnels(0)), 15008, true) == 15008);  // waypoints: O-24
}

TEST_CASE("a port that nobody serves is no_port_mapping, one that nobody healthy serves is not [O-13]") {
    CHECK(refusal(*directory({service("s", {"10.1.0.1"}), endpoint("a", "10.0.0.1")}), 81) ==
          Reason::no_port_mapping);
    CHECK(refusal(*directory({service("s", {"10.1.0.1"})}), 80) == Reason::no_healthy_upstream);
}

TEST_CASE("the address: the target itself if owned, else one that the service permits, of the target's "
          "family [O-21]") {
    auto both = make_record(pod("a", {"10.0.0.1", "10.0.0.2", "fd00::1"}));
    Service made = service("s", {"10.1.0.1"});
    CHECK(choose_ip(*both, nullptr, ip("10.0.0.2")) == ip("10.0.0.2"));
    CHECK(choose_ip(*both, &made, ip("10.1.0.1")) == ip("10.0.0.1"));
    CHECK(choose_ip(*both, &made, ip("fd00:9::1")) == ip("fd00::1"));
    made.ip_families = IpFamilies::v6_only;
    CHECK(choose_ip(*both, &made, ip("10.1.0.1")) == ip("fd00::1"));
    made.ip_families = IpFamilies::v4_only;
    CHECK(choose_ip(*both, &made, ip("fd00:9::1")) == ip("10.0.0.1"));
    CHECK(choose_ip(*make_record(pod("b", {"fd00::1"})), &made, ip("10.1.0.1")) == std::nullopt);
}
