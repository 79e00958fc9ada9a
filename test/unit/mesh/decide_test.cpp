#include "lib/mesh/decide.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;
using Way = Outbound::Way;

namespace {

const Workload client = pod("client", {"10.0.0.99", "fd00::99"});

Outbound decided(const DirectoryPtr& known, std::string_view target, const Surroundings& around = {},
                 const Workload& source = client) {
    SeededRandom random(3);
    WorkloadPtr asker = make_record(source);
    return decide(*known, around, {*asker, source.addresses[0], at(target)}, random);
}

std::string id(const Workload& workload) { return workload.identity().to_string(); }

std::vector<std::string> accepted(const Outbound& verdict) {
    std::vector<std::string> all;
    for (const Identity& one : verdict.accepted) all.push_back(one.to_string());
    return all;
}

auto plain = [](Workload& workload) { workload.tunnel_protocol = TunnelProtocol::none; };
auto serves_s = [](Workload& workload) { workload.services[key("s")] = {}; };
const GatewayAddress waypoint_address{NetworkAddress{"", ip("10.0.0.50")}, 15008};

}  // namespace

TEST_CASE("a call to one of ztunnel's own ports on loopback or on the pod itself is refused [O-1, S8]") {
    auto port = GENERATE(as<std::string>(), "15001", "15006", "15008", "15053", "15080", "15104", "15167");
    auto host = GENERATE(as<std::string>(), "127.0.0.1", "[::1]", "127.9.9.9", "10.0.0.99", "[fd00::99]");
    CAPTURE(host, port);
    Outbound verdict = decided(directory({client}), host + ":" + port);
    CHECK(verdict.way == Way::refused);
    CHECK(verdict.reason == Reason::loop_to_ourselves);
}

TEST_CASE("the unspecified address is never dialled [S8]") {
    auto target = GENERATE(as<std::string>(), "0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80");
    CHECK(decided(directory({}), target).reason == Reason::loop_to_ourselves);
    Workload nowhere = pod("a", {"0.0.0.0"}, serves_s);
    CHECK(decided(directory({service("s", {"10.1.0.1"}), nowhere}), "10.1.0.1:80").way == Way::refused);
}

TEST_CASE("an unknown destination outside the mesh passes through [O-6]") {
    Outbound verdict = decided(directory({}), "1.2.3.4:80");
    CHECK(verdict.way == Way::passthrough);
    CHECK(verdict.dial == at("1.2.3.4:80"));
    CHECK_FALSE(verdict.workload);
    CHECK_FALSE(verdict.service);
}

TEST_CASE("an HBONE workload is dialled on 15008 with its own address as authority and its own identity "
          "[O-10, H-15]") {
    Workload a = pod("a", {"10.0.0.1"});
    Outbound verdict = decided(directory({a}), "10.0.0.1:8080");
    CHECK(verdict.way == Way::hbone);
    CHECK(verdict.dial == at("10.0.0.1:15008"));
    CHECK(verdict.authority == at("10.0.0.1:8080"));
    CHECK(accepted(verdict) == std::vector{id(a)});
    CHECK(verdict.workload->uid() == a.uid);
    CHECK_FALSE(verdict.service);
}

TEST_CASE("a workload without HBONE is dialled in plain TCP, port unchanged [O-10, O-20]") {
    Outbound verdict = decided(directory({pod("a", {"10.0.0.1"}, plain)}), "10.0.0.1:8080");
    CHECK(verdict.way == Way::direct);
    CHECK(verdict.dial == at("10.0.0.1:8080"));
    CHECK(verdict.accepted.empty());
}

TEST_CASE("the same node takes the same path [O-10]") {
    auto here = [](Workload& workload) { workload.node = "node1"; };
    Outbound verdict = decided(directory({pod("a", {"10.0.0.1"}, here)}), "10.0.0.1:80", {},
                               pod("client", {"10.0.0.99"}, here));
    CHECK(verdict.way == Way::hbone);
}

TEST_CASE("whether a workload has a native tunnel changes nothing [O-11]") {
    auto native = [](Workload& workload) {
        workload.tunnel_protocol = TunnelProtocol::none;
        workload.native_tunnel = true;
    };
    CHECK(decided(directory({pod("a", {"10.0.0.1"}, native)}), "10.0.0.1:80").way == Way::direct);
}

TEST_CASE("a service's VIP leads to an endpoint, its port mapped, its SANs accepted beside the endpoint's id "
          "[O-5, H-15]") {
    Workload a = pod("a", {"10.0.0.1"}, serves_s);
    auto sans = [](Service& made) {
        made.subject_alt_names = {"spiffe://other/ns/x/sa/y", "not an identity", "https://example.com"};
    };
    Outbound verdict = decided(directory({service("s", {"10.1.0.1"}, sans), a}), "10.1.0.1:80");
    CHECK(verdict.way == Way::hbone);
    CHECK(verdict.dial == at("10.0.0.1:15008"));
    CHECK(verdict.authority == at("10.0.0.1:8080"));
    CHECK(accepted(verdict) == std::vector<std::string>{id(a), "spiffe://other/ns/x/sa/y"});
    CHECK(verdict.service->key == key("s"));
}

TEST_CASE("an endpoint's own port map wins over the service's [O-19]") {
    Workload a =
        pod("a", {"10.0.0.1"}, [](Workload& workload) { workload.services[key("s")] = {{80, 9090, 0}}; });
    CHECK(decided(directory({service("s", {"10.1.0.1"}), a}), "10.1.0.1:80").authority ==
          at("10.0.0.1:9090"));
}

TEST_CASE("a known service without a usable endpoint or port refuses, it never passes through [O-6]") {
    DirectoryPtr known = directory({service("s", {"10.1.0.1"})});
    CHECK(decided(known, "10.1.0.1:80").way == Way::refused);
    CHECK(decided(known, "10.1.0.1:80").reason == Reason::no_healthy_upstream);
    CHECK(decided(known, "10.1.0.1:81").reason == Reason::no_port_mapping);
    CHECK(decided(known, "10.1.0.1:81").service->key == key("s"));
}

TEST_CASE("a PASSTHROUGH service goes where the application pointed [O-5, O-6]") {
    auto pass = [](Service& made) { made.balancing.mode = LoadBalancingMode::passthrough; };
    Outbound verdict = decided(
        directory({service("s", {"10.1.0.1"}, pass), pod("a", {"10.0.0.1"}, serves_s)}), "10.1.0.1:80");
    CHECK(verdict.way == Way::passthrough);
    CHECK(verdict.dial == at("10.1.0.1:80"));
    CHECK(verdict.service->key == key("s"));
}

TEST_CASE("a service with a waypoint is never reached past it, also when it is PASSTHROUGH [O-4]") {
    auto waypoint = [](Service& made) { made.waypoint = waypoint_address; };
    auto passing = [&](Service& made) {
        waypoint(made);
        made.balancing.mode = LoadBalancingMode::passthrough;
    };
    for (const Service& made : {service("s", {"10.1.0.1"}, waypoint), service("s", {"10.1.0.1"}, passing)}) {
        Outbound verdict = decided(directory({made, pod("a", {"10.0.0.1"}, serves_s)}), "10.1.0.1:80");
        CHECK(verdict.way == Way::refused);
        CHECK(verdict.reason == Reason::waypoint_unsupported);
    }
}

TEST_CASE("weighted waypoints count as a waypoint unless all weigh nothing [O-25]") {
    auto weighted = [](std::uint32_t weight) {
        return [=](Service& made) {
            made.weighted_waypoints = {{waypoint_address, 0}, {waypoint_address, weight}};
        };
    };
    Workload a = pod("a", {"10.0.0.1"}, serves_s);
    CHECK(decided(directory({service("s", {"10.1.0.1"}, weighted(1)), a}), "10.1.0.1:80").reason ==
          Reason::waypoint_unsupported);
    CHECK(decided(directory({service("s", {"10.1.0.1"}, weighted(0)), a}), "10.1.0.1:80").way == Way::hbone);
}

TEST_CASE("a workload's waypoint applies to its address, not to a service that leads to it [O-9]") {
    Workload a = pod("a", {"10.0.0.1"}, [](Workload& workload) {
        serves_s(workload);
        workload.waypoint = waypoint_address;
    });
    DirectoryPtr known = directory({service("s", {"10.1.0.1"}), a});
    CHECK(decided(known, "10.0.0.1:80").reason == Reason::waypoint_unsupported);
    CHECK(decided(known, "10.1.0.1:80").way == Way::hbone);
}

TEST_CASE("what comes from the waypoint itself goes on to the workload [O-8]") {
    Workload a = pod("a", {"10.0.0.1"}, [](Workload& workload) { workload.waypoint = waypoint_address; });
    Workload waypoint = pod("waypoint", {"10.0.0.50"});
    DirectoryPtr known = directory({a, waypoint});
    CHECK(decided(known, "10.0.0.1:80", {}, waypoint).way == Way::hbone);
    Workload same_identity = pod("waypoint", {"10.0.0.51"});  // but not an address behind the reference
    CHECK(decided(known, "10.0.0.1:80", {}, same_identity).reason == Reason::waypoint_unsupported);
    Workload same_address = pod("other", {"10.0.0.50"});
    CHECK(decided(known, "10.0.0.1:80", {}, same_address).reason == Reason::waypoint_unsupported);
}

TEST_CASE("a waypoint named by hostname is known by its service's endpoints or by a workload's hostname "
          "[O-8, O-23]") {
    Workload a = pod("a", {"10.0.0.1"},
                     [](Workload& workload) { workload.waypoint = GatewayAddress{key("s"), 15008}; });
    Workload waypoint = pod("waypoint", {"10.0.0.50"}, serves_s);
    CHECK(decided(directory({a, waypoint, service("s", {})}), "10.0.0.1:80", {}, waypoint).way == Way::hbone);
    waypoint.services.clear();
    waypoint.hostname = key("s").hostname;
    CHECK(decided(directory({a, waypoint}), "10.0.0.1:80", {}, waypoint).way == Way::hbone);
    CHECK(decided(directory({a}), "10.0.0.1:80", {}, waypoint).reason == Reason::waypoint_unsupported);
}

TEST_CASE("an address that is both: addressed as a workload, reached through the service [O-3, O-5]") {
    Workload owner =
        pod("owner", {"10.1.0.1"}, [](Workload& workload) { workload.waypoint = waypoint_address; });
    auto waypoint = [](Service& made) { made.waypoint = waypoint_address; };
    Workload a = pod("a", {"10.0.0.1"}, serves_s);
    // Not service-addressed, so the service's waypoint does not count; the endpoint that was picked has none.
    CHECK(decided(directory({owner, a, service("s", {"10.1.0.1"}, waypoint)}), "10.1.0.1:80").authority ==
          at("10.0.0.1:8080"));
}

TEST_CASE("another network needs a double tunnel, which is refused by name [O-7]") {
    Workload remote = pod("a", {"10.0.0.1"}, [](Workload& workload) {
        serves_s(workload);
        workload.network = "n2";
        workload.network_gateway = GatewayAddress{NetworkAddress{"n2", ip("1.2.3.4")}, 15008};
    });
    Outbound verdict = decided(directory({service("s", {"10.1.0.1"}), remote}), "10.1.0.1:80");
    CHECK(verdict.way == Way::refused);
    CHECK(verdict.reason == Reason::double_tunnel_unsupported);
    CHECK(decided(directory({remote}), "10.0.0.1:80").way ==
          Way::passthrough);  // not an address of this network
}

TEST_CASE("several addresses: the one that was asked for, or one of the target's family [O-21]") {
    Workload a = pod("a", {"10.0.0.1", "10.0.0.2", "fd00::1"}, serves_s);
    DirectoryPtr known = directory({service("s", {"10.1.0.1", "fd00:1::1"}), a});
    CHECK(decided(known, "10.0.0.2:80").dial == at("10.0.0.2:15008"));
    CHECK(decided(known, "[fd00::1]:80").dial == at("[fd00::1]:15008"));
    CHECK(decided(known, "10.1.0.1:80").dial == at("10.0.0.1:15008"));
    CHECK(decided(known, "[fd00:1::1]:80").dial == at("[fd00::1]:15008"));
}

TEST_CASE("a service that permits only the family that nobody has refuses [O-21]") {
    auto six = [](Service& made) { made.ip_families = IpFamilies::v6_only; };
    DirectoryPtr known = directory({service("s", {"10.1.0.1"}, six), pod("a", {"10.0.0.1"}, serves_s)});
    CHECK(decided(known, "10.1.0.1:80").reason == Reason::no_address_of_family);
}

TEST_CASE("an endpoint known by name is resolved for each connection [O-22]") {
    auto named = [](Workload& workload) {
        serves_s(workload);
        workload.hostname = "db.example";
        workload.addresses.clear();
        workload.tunnel_protocol = TunnelProtocol::none;
    };
    Outbound verdict = decided(directory({service("s", {"10.1.0.1"}), pod("a", {}, named)}), "10.1.0.1:80");
    CHECK(verdict.way == Way::resolve);
    CHECK(verdict.hostname == "db.example");
    CHECK(verdict.dial.port == 8080);
    auto tunnelled = [&](Workload& workload) {
        named(workload);
        workload.tunnel_protocol = TunnelProtocol::hbone;
    };
    CHECK(decided(directory({service("s", {"10.1.0.1"}), pod("a", {}, tunnelled)}), "10.1.0.1:80").reason ==
          Reason::unsupported);
}

TEST_CASE("a host-network workload is reached as an endpoint, not by its address [O-30]") {
    auto host = [](Workload& workload) {
        serves_s(workload);
        workload.network_mode = NetworkMode::host_network;
        workload.tunnel_protocol = TunnelProtocol::none;
    };
    DirectoryPtr known = directory({service("s", {"10.1.0.1"}), pod("a", {"10.0.0.1"}, host)});
    CHECK(decided(known, "10.1.0.1:80").dial == at("10.0.0.1:8080"));
    CHECK(decided(known, "10.0.0.1:80").way == Way::passthrough);
}

TEST_CASE("a service that this client may not see is unknown to it [O-29]") {
    auto hidden = [](Service& made) {
        made.name_space = "other";
        made.visibility = Visibility::name_space;
    };
    CHECK(decided(directory({service("s", {"10.1.0.1"}, hidden)}), "10.1.0.1:80").way == Way::passthrough);
}

TEST_CASE("an unknown address inside the mesh's ranges waits and is never passed through [S14]") {
    Surroundings around;
    around.mesh_ranges = {cidr("10.0.0.0/8"), cidr("fd00::/16")};
    around.external_ranges = {cidr("10.200.0.0/16")};
    Outbound verdict = decided(directory({}), "10.0.0.1:80", around);
    CHECK(verdict.way == Way::wait);
    CHECK(verdict.reason == Reason::destination_unknown);
    CHECK(decided(directory({}), "[fd00::1]:80", around).way == Way::wait);
    CHECK(decided(directory({}), "10.200.0.1:80", around).way == Way::passthrough);  // declared external
    CHECK(decided(directory({}), "1.2.3.4:80", around).way == Way::passthrough);
    CHECK(decided(directory({pod("a", {"10.0.0.1"})}), "10.0.0.1:80", around).way == Way::hbone);
}

TEST_CASE("an address last known as HBONE is not downgraded without a newer word [S14]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1"});
    writer.apply({{a}, {}, {}, {}, true, true});
    DirectoryPtr known = writer.apply({{}, {a.uid}, {}, {}});
    CHECK(decided(known, "10.0.0.1:80").way == Way::wait);
    CHECK(decided(known, "10.0.0.1:80").reason == Reason::downgrade_refused);
    known = writer.apply({{pod("b", {"10.0.0.1"}, plain)}, {}, {}, {}});
    CHECK(decided(known, "10.0.0.1:80").way == Way::direct);
}

TEST_CASE("a range or a passthrough service takes no HBONE workload out of the mesh [O-6, S14]") {
    auto pass = [](Service& made) {
        made.balancing.mode = LoadBalancingMode::passthrough;
        made.subject_alt_names = {"spiffe://cluster.local/ns/evil/sa/evil"};
    };
    auto claim = GENERATE(as<std::string>(), "10.0.0.0/8", "10.0.0.1");
    Workload a = pod("a", {"10.0.0.1"});
    Surroundings around;
    around.mesh_ranges = {cidr("10.0.0.0/16")};
    Outbound verdict = decided(directory({a, service("evil", {claim}, pass)}), "10.0.0.1:80", around);
    CHECK(verdict.way == Way::hbone);
    CHECK(accepted(verdict) == std::vector{id(a)});
    DirectoryWriter writer;
    writer.apply({{a}, {}, {}, {}, true, true});
    DirectoryPtr known = writer.apply({{}, {a.uid}, {}, {}});
    known = writer.apply({{service("evil", {"10.0.0.0/8"}, pass)}, {}, {}, {}});
    CHECK(decided(known, "10.0.0.1:80").reason == Reason::downgrade_refused);
    CHECK(decided(known, "10.0.0.2:80", around).reason == Reason::destination_unknown);
    CHECK(decided(known, "10.9.0.1:80", around).way == Way::passthrough);
    known = writer.apply({{service("real", {"10.0.0.2"}, pass)}, {}, {}, {}});
    CHECK(decided(known, "10.0.0.2:80", around).way == Way::passthrough);  // declared, by its address
}

TEST_CASE("a range does not stand before a workload without HBONE either") {
    Workload a = pod("a", {"10.0.0.1"}, plain);
    Outbound verdict = decided(
        directory({a, service("wide", {"10.0.0.0/8"}), pod("b", {"10.0.0.2"}, serves_s)}), "10.0.0.1:80");
    CHECK(verdict.way == Way::direct);
    CHECK(verdict.dial == at("10.0.0.1:80"));
}

TEST_CASE("before all addresses have come nothing passes through [S14]") {
    DirectoryWriter writer;
    DirectoryPtr known = writer.apply({{}, {}, {}, {}, false, true});
    CHECK(decided(known, "1.2.3.4:80").way == Way::wait);
    CHECK(decided(known, "1.2.3.4:80").reason == Reason::not_synced);
}
