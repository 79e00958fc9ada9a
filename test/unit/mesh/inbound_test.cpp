#include "lib/mesh/inbound.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

namespace {

const Workload local = pod("local", {"10.0.0.1", "fd00::1"},
                           [](Workload& workload) { workload.services[key("s")] = {{80, 8080, 0}}; });

Result<Inbound> admitted(const DirectoryPtr& known, std::string_view authority,
                         std::string_view accepted = "10.0.0.1:15008", const Workload& here = local,
                         std::string_view host = "") {
    WorkloadPtr record = make_record(here);
    return admit(*known, {}, {*record, at(accepted), parse_authority(authority).value(), host});
}

int status(const Result<Inbound>& verdict) { return verdict ? 200 : connect_status(verdict.error().reason); }
Reason reason(const Result<Inbound>& verdict) { return verdict ? Reason::none : verdict.error().reason; }

auto behind(const GatewayAddress& waypoint) {
    return [=](Workload& workload) { workload.waypoint = waypoint; };
}
auto service_behind(const GatewayAddress& waypoint) {
    return [=](Service& made) { made.waypoint = waypoint; };
}
const GatewayAddress by_pod{NetworkAddress{"", ip("10.0.0.1")}, 15008};
const GatewayAddress by_name{key("s"), 15008};
const GatewayAddress by_vip{NetworkAddress{"", ip("10.1.0.1")}, 15008};
const GatewayAddress elsewhere{NetworkAddress{"", ip("10.0.0.77")}, 15008};

}  // namespace

TEST_CASE("an authority of the accepted address is dialled there, on its port [I-7, I-8]") {
    auto verdict = admitted(directory({local}), "10.0.0.1:8080");
    CHECK(status(verdict) == 200);
    CHECK(verdict->dial == at("10.0.0.1:8080"));
    CHECK(admitted(directory({local}), "[fd00::1]:80", "[fd00::1]:15008")->dial == at("[fd00::1]:80"));
}

TEST_CASE("an authority of another address is 400 [I-7, H-26]") {
    auto authority = GENERATE(as<std::string>(), "10.0.0.2:80", "[fd00::1]:80", "127.0.0.1:80", "1.2.3.4:80");
    DirectoryPtr known = directory({local, pod("other", {"10.0.0.2"}), service("s", {"10.1.0.1"})});
    auto verdict = admitted(known, authority);
    CHECK(status(verdict) == 400);
    CHECK(reason(verdict) == Reason::authority_not_ours);
}

TEST_CASE("a v4-mapped authority is the IPv4 address that it maps [I-7]") {
    CHECK(status(admitted(directory({local}), "[::ffff:10.0.0.1]:80")) == 200);
}

TEST_CASE("a waypoint is admitted to what is bound to it, and always dials itself [I-7, I-8, S15]") {
    Service own = service("s", {"10.1.0.1"});
    for (const GatewayAddress& reference : {by_pod, by_name, by_vip}) {
        DirectoryPtr known = directory({local, own, pod("bound", {"10.0.0.2"}, behind(reference)),
                                        service("bound-service", {"10.1.0.2"}, service_behind(reference))});
        CHECK(status(admitted(known, "10.0.0.2:80")) == 200);
        CHECK(admitted(known, "10.0.0.2:80")->dial == at("10.0.0.1:80"));
        CHECK(status(admitted(known, "10.1.0.2:80")) == 200);
    }
    DirectoryPtr known = directory({local, own, pod("bound", {"10.0.0.2"}, behind(elsewhere)),
                                    service("bound-service", {"10.1.0.2"}, service_behind(elsewhere)),
                                    pod("free", {"10.0.0.3"})});
    for (std::string_view authority : {"10.0.0.2:80", "10.1.0.2:80", "10.0.0.3:80", "10.0.0.77:80"})
        CHECK(status(admitted(known, authority)) == 400);
}

TEST_CASE("a canary among weighted waypoints is admitted as well [I-7]") {
    auto weighted = [](std::uint32_t weight) {
        return [=](Service& made) { made.weighted_waypoints = {{by_pod, weight}, {elsewhere, 9}}; };
    };
    CHECK(status(admitted(directory({local, service("b", {"10.1.0.2"}, weighted(1))}), "10.1.0.2:80")) ==
          200);
    CHECK(status(admitted(directory({local, service("b", {"10.1.0.2"}, weighted(0))}), "10.1.0.2:80")) ==
          400);
}

TEST_CASE("a hostname is served only by an endpoint of that service, on the mapped port [I-9, S15]") {
    std::string host = key("s").hostname;
    DirectoryPtr known = directory({local, service("s", {}), service("t", {})});
    auto verdict = admitted(known, host + ":80");
    CHECK(status(verdict) == 200);
    CHECK(verdict->dial == at("10.0.0.1:8080"));
    CHECK(verdict->service->key == key("s"));
    CHECK(status(admitted(known, key("t").hostname + ":80")) ==
          503);  // known, but this pod does not serve it
    CHECK(reason(admitted(known, key("t").hostname + ":80")) == Reason::service_not_ours);
    CHECK(status(admitted(known, "unknown.example:80")) == 503);
    CHECK(reason(admitted(known, "unknown.example:80")) == Reason::destination_unknown);
}

TEST_CASE("a hostname's port: the endpoint's map, the service's, else 503 [I-9]") {
    Workload here = pod("local", {"10.0.0.1"}, [](Workload& workload) { workload.services[key("s")] = {}; });
    auto ports = [](Service& made) { made.ports = {{80, 8081, 0}, {81, 0, 0}}; };
    DirectoryPtr known = directory({here, service("s", {}, ports)});
    std::string host = key("s").hostname;
    CHECK(admitted(known, host + ":80", "10.0.0.1:15008", here)->dial.port == 8081);
    for (std::string_view port : {":81", ":82"}) {
        auto verdict = admitted(known, host + std::string(port), "10.0.0.1:15008", here);
        CHECK(status(verdict) == 503);
        CHECK(reason(verdict) == Reason::no_port_mapping);
    }
}

TEST_CASE("a service that this pod may not see is unknown by name [I-9, O-29]") {
    auto hidden = [](Service& made) {
        made.name_space = "other";
        made.hostname = "secret.example";
        made.visibility = Visibility::name_space;
    };
    CHECK(status(admitted(directory({local, service("x", {}, hidden)}), "secret.example:80")) == 503);
}

TEST_CASE("a port of ztunnel is never the target of a CONNECT, not even through a service [I-10, S8]") {
    auto port = GENERATE(as<std::string>(), "15001", "15006", "15008", "15053", "15080", "15104", "15167");
    auto verdict = admitted(directory({local}), "10.0.0.1:" + port);
    CHECK(status(verdict) == 503);
    CHECK(reason(verdict) == Reason::loop_to_ourselves);
    auto maps = [&](Workload& workload) {
        workload.services[key("s")] = {{80, static_cast<std::uint16_t>(std::stoi(port)), 0}};
    };
    Workload here = pod("local", {"10.0.0.1"}, maps);
    CHECK(reason(admitted(directory({here, service("s", {})}), key("s").hostname + ":80", "10.0.0.1:15008",
                          here)) == Reason::loop_to_ourselves);
}

TEST_CASE("a pod with an application tunnel is refused by name [I-11]") {
    Workload here = pod("local", {"10.0.0.1"}, [](Workload& workload) {
        workload.application_tunnel = ApplicationTunnel{ApplicationTunnel::Protocol::proxy, 15088};
    });
    auto verdict = admitted(directory({here}), "10.0.0.1:80", "10.0.0.1:15008", here);
    CHECK(status(verdict) == 503);
    CHECK(reason(verdict) == Reason::application_tunnel_unsupported);
}

TEST_CASE(
    "the reported service is the forwarded one if it is ours, else the first that maps to the port [M-6]") {
    Workload here = pod("local", {"10.0.0.1"}, [](Workload& workload) {
        workload.services[key("s")] = {{80, 8080, 0}};
        workload.services[key("t")] = {{90, 9090, 0}};
    });
    DirectoryPtr known = directory({here, service("s", {}), service("t", {}), service("u", {})});
    auto reported = [&](std::string_view authority, std::string_view host) {
        auto verdict = admitted(known, authority, "10.0.0.1:15008", here, host);
        return verdict && verdict->service ? verdict->service->key.to_string() : "";
    };
    CHECK(reported("10.0.0.1:8080", key("t").hostname) == key("t").to_string());
    CHECK(reported("10.0.0.1:9090", "") == key("t").to_string());
    CHECK(reported("10.0.0.1:9090", key("u").hostname) == key("t").to_string());  // not ours: not believed
    CHECK(reported("10.0.0.1:1", "").empty());
}

TEST_CASE("plaintext keeps its original destination, but never reaches a port of ztunnel [I-12, S8]") {
    WorkloadPtr here = make_record(local);
    auto verdict = admit_plaintext(*directory({local, service("s", {})}), {}, *here, at("10.0.0.1:8080"));
    CHECK(status(verdict) == 200);
    CHECK(verdict->dial == at("10.0.0.1:8080"));
    CHECK(verdict->service->key == key("s"));
    for (std::string_view target : {"10.0.0.1:15001", "10.0.0.1:15006", "10.0.0.1:15008", "10.0.0.1:15053",
                                    "10.0.0.1:15104", "0.0.0.0:80"})
        CHECK(reason(admit_plaintext(*directory({local}), {}, *here, at(target))) ==
              Reason::loop_to_ourselves);
}

TEST_CASE("what happens after admission has its status too [H-26]") {
    CHECK(connect_status(Reason::bad_request) == 400);
    CHECK(connect_status(Reason::authority_not_ours) == 400);
    CHECK(connect_status(Reason::policy_denied) == 401);
    CHECK(connect_status(Reason::policy_unknown) == 401);
    CHECK(connect_status(Reason::not_synced) == 401);
    CHECK(connect_status(Reason::connect_refused) == 503);
    CHECK(connect_status(Reason::timed_out) == 503);
    CHECK(connect_status(Reason::source_unknown) == 503);
}
