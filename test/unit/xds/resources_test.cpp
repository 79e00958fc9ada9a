#include "lib/xds/wire.h"
#include "proto/authorization.pb.h"
#include "proto/discovery.pb.h"
#include "proto/workload.pb.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
namespace wire = istio::workload;

namespace {

std::string error_of(const wire::Address& address) {
    auto decoded = xds::decode_address(address.SerializeAsString());
    return decoded ? "" : decoded.error().text;
}

wire::Address good_workload() {
    wire::Address address;
    address.ParseFromString(xds::body_of(full_workload()));
    return address;
}

wire::Address good_service() {
    wire::Address address;
    address.ParseFromString(xds::body_of(full_service()));
    return address;
}

template <class Value> Value decoded(std::string_view body) {
    return std::get<Value>(xds::decode_address(body).value());
}

}  // namespace

TEST_CASE("a workload with every field survives the wire", "[xds]") {
    mesh::Workload value = full_workload();
    REQUIRE(decoded<mesh::Workload>(xds::body_of(value)) == value);
    REQUIRE(decoded<mesh::Workload>(xds::body_of(small_workload(3))) == small_workload(3));
}

TEST_CASE("a service with every field survives the wire", "[xds]") {
    mesh::Service value = full_service();
    REQUIRE(decoded<mesh::Service>(xds::body_of(value)) == value);
    REQUIRE(decoded<mesh::Service>(xds::body_of(small_service(3))) == small_service(3));
}

TEST_CASE("a policy survives the wire, malformed entries included", "[xds]") {
    mesh::Policy value = full_policy();
    REQUIRE(xds::decode_policy(xds::body_of(value)).value() == value);
}

TEST_CASE("what the wire leaves out gets the mesh's defaults", "[xds]") {
    wire::Address address;
    address.mutable_workload()->set_uid("u");
    auto value = decoded<mesh::Workload>(address.SerializeAsString());
    REQUIRE(value.trust_domain == "cluster.local");
    REQUIRE(value.service_account == "default");
    REQUIRE(value.cluster_id == "Kubernetes");
    REQUIRE(value.capacity == 1);
}

TEST_CASE("the trust domain cluster.local is left out [X-21]", "[xds]") {
    wire::Address address;
    address.ParseFromString(xds::body_of(small_workload(1)));
    REQUIRE(address.workload().trust_domain().empty());
    REQUIRE(good_workload().workload().trust_domain() == "example.org");
}

TEST_CASE("a workload that makes no sense is refused, and says why [X-9, H-54]", "[xds]") {
    wire::Address address = good_workload();
    auto& workload = *address.mutable_workload();
    std::string expected;
    SECTION("legacy tunnel") {
        workload.set_tunnel_protocol(wire::LEGACY_ISTIO_MTLS);
        expected = "tunnel protocol LEGACY_ISTIO_MTLS is not supported";
    }
    SECTION("unknown tunnel") {
        workload.set_tunnel_protocol(static_cast<wire::TunnelProtocol>(9));
        expected = "unknown tunnel protocol 9";
    }
    SECTION("address of five bytes") {
        workload.add_addresses("12345");
        expected = "an address of 5 bytes";
    }
    SECTION("gateway without destination") {
        workload.mutable_waypoint()->clear_destination();
        expected = "a gateway address without destination";
    }
    SECTION("network gateway with a broken address") {
        workload.mutable_network_gateway()->mutable_address()->set_address("x");
        expected = "an address of 1 bytes";
    }
    SECTION("service key without slash") {
        (*workload.mutable_services())["web"];
        expected = "service web is not namespace/hostname";
    }
    SECTION("no uid") {
        workload.clear_uid();
        expected = "a workload without uid";
    }
    SECTION("unknown status") {
        workload.set_status(static_cast<wire::WorkloadStatus>(2));
        expected = "unknown status 2";
    }
    SECTION("unknown type") {
        workload.set_workload_type(static_cast<wire::WorkloadType>(-1));
        expected = "unknown workload type -1";
    }
    SECTION("unknown network mode") {
        workload.set_network_mode(static_cast<wire::NetworkMode>(2));
        expected = "unknown network mode 2";
    }
    SECTION("unknown application tunnel") {
        workload.mutable_application_tunnel()->set_protocol(
            static_cast<wire::ApplicationTunnel::Protocol>(2));
        expected = "unknown application tunnel protocol 2";
    }
    SECTION("port out of range") {
        (*workload.mutable_services())["a/b"].add_ports()->set_target_port(65536);
        expected = "port 65536 is above 65535";
    }
    REQUIRE(error_of(address) == expected);
}

TEST_CASE("a service that makes no sense is refused, and says why [X-9]", "[xds]") {
    wire::Address address = good_service();
    auto& service = *address.mutable_service();
    std::string expected;
    SECTION("scope 0") {
        service.mutable_load_balancing()->add_routing_preference(wire::LoadBalancing::UNSPECIFIED_SCOPE);
        expected = "unknown routing preference 0";
    }
    SECTION("unknown scope") {
        service.mutable_load_balancing()->add_routing_preference(static_cast<wire::LoadBalancing::Scope>(7));
        expected = "unknown routing preference 7";
    }
    SECTION("unknown mode") {
        service.mutable_load_balancing()->set_mode(static_cast<wire::LoadBalancing::Mode>(4));
        expected = "unknown load balancing mode 4";
    }
    SECTION("unknown health policy") {
        service.mutable_load_balancing()->set_health_policy(
            static_cast<wire::LoadBalancing::HealthPolicy>(2));
        expected = "unknown health policy 2";
    }
    SECTION("weighted waypoint without destination") {
        service.add_weighted_waypoints()->set_weight(1);
        expected = "a gateway address without destination";
    }
    SECTION("prefix too long") {
        service.mutable_addresses(0)->set_length(33);
        expected = "a prefix of 33 bits";
    }
    SECTION("hostname with a slash") {
        service.set_hostname("a/b");
        expected = "service shop/a/b is not namespace/hostname";
    }
    SECTION("no hostname") {
        service.clear_hostname();
        expected = "service shop/ is not namespace/hostname";
    }
    SECTION("unknown families") {
        service.set_ip_families(static_cast<wire::IPFamilies>(4));
        expected = "unknown address families 4";
    }
    REQUIRE(error_of(address) == expected);
}

TEST_CASE("an unknown visibility is everyone [O-29]", "[xds]") {
    wire::Address address = good_service();
    address.mutable_service()->set_visibility(static_cast<wire::Visibility>(5));
    REQUIRE(decoded<mesh::Service>(address.SerializeAsString()).visibility == mesh::Visibility::everyone);
}

TEST_CASE("a VIP whose length is absent or full is one address", "[xds]") {
    wire::Address address = good_service();
    address.mutable_service()->mutable_addresses(0)->set_length(32);
    auto full = decoded<mesh::Service>(address.SerializeAsString());
    address.mutable_service()->mutable_addresses(0)->clear_length();
    REQUIRE(decoded<mesh::Service>(address.SerializeAsString()) == full);
    REQUIRE(full.vips[0].exact());
}

TEST_CASE("an address of neither kind and bytes that do not parse are refused", "[xds]") {
    REQUIRE(xds::decode_address("").error().text == "neither workload nor service");
    REQUIRE(xds::decode_address("\xff\xff").error().text == "does not parse");
    REQUIRE(xds::decode_policy("\xff\xff").error().text == "does not parse");
}

TEST_CASE("a policy of an unknown scope or action is refused [R-3]", "[xds]") {
    istio::security::Authorization policy;
    policy.set_scope(static_cast<istio::security::Scope>(3));
    REQUIRE(xds::decode_policy(policy.SerializeAsString()).error().text == "unknown scope 3");
    policy.set_scope(istio::security::GLOBAL);
    policy.set_action(static_cast<istio::security::Action>(2));
    REQUIRE(xds::decode_policy(policy.SerializeAsString()).error().text == "unknown action 2");
}

TEST_CASE("resources are named by uid, namespace/hostname and namespace/name [X-15]", "[xds]") {
    REQUIRE(xds::encode(full_workload())->name == "Kubernetes//Pod/shop/pod-1");
    REQUIRE(xds::encode(full_service())->name == "shop/svc-1.shop.svc.cluster.local");
    REQUIRE(xds::encode(full_policy())->name == "shop/policy-1");
}

TEST_CASE("aliases are network/ip, with the length for a range [X-15]", "[xds]") {
    REQUIRE(xds::encode(full_workload())->aliases ==
            std::vector<std::string>{"east/10.0.0.1", "east/fd00::1"});
    REQUIRE(xds::encode(full_service())->aliases ==
            std::vector<std::string>{"east/10.96.0.1", "/fd00:96::/64"});
}

TEST_CASE("the version is the lower-case XXH64 of the serialised address [X-16]", "[xds]") {
    // Published test values of XXH64 with seed 0: of nothing, and of "abc".
    REQUIRE(xds::content_version("") == "ef46db3751d8e999");
    REQUIRE(xds::content_version("abc") == "44bc2cf5ad770999");
    REQUIRE(xds::encode(full_workload())->version == xds::content_version(xds::body_of(full_workload())));
}

TEST_CASE("equal values serialise to equal bytes, whatever order their map was built in [X-16]", "[xds]") {
    mesh::Workload forward = small_workload(1), backward = small_workload(1);
    for (int i = 0; i < 40; ++i) forward.services[{"n", "h" + std::to_string(i)}] = {{80, 80, 0}};
    for (int i = 39; i >= 0; --i) backward.services[{"n", "h" + std::to_string(i)}] = {{80, 80, 0}};
    REQUIRE(xds::body_of(forward) == xds::body_of(backward));
    REQUIRE(xds::encode(small_workload(1, 1))->version != xds::encode(small_workload(1, 2))->version);
}

TEST_CASE("that more follows is said on the wire, where Istio's nodes do not look", "[xds]") {
    xds::Push push{xds::Type::address, "n1", {xds::encode(small_workload(1))}, {}};
    REQUIRE_FALSE(xds::parse_response(xds::push_bytes(push))->more);
    push.more = true;
    auto response = xds::parse_response(xds::push_bytes(push));
    REQUIRE(response->more);
    REQUIRE(response->resources.size() == 1);
    REQUIRE(response->nonce == "n1");
}

TEST_CASE("a resource's chunk is its field of a response, with its type", "[xds]") {
    auto resource = xds::encode(full_workload());
    envoy::service::discovery::v3::DeltaDiscoveryResponse response;
    REQUIRE(response.ParseFromString(resource->chunk + resource->chunk));
    REQUIRE(response.resources_size() == 2);
    const auto& each = response.resources(1);
    REQUIRE(each.name() == resource->name);
    REQUIRE(each.version() == resource->version);
    REQUIRE(each.aliases_size() == 2);
    REQUIRE(each.resource().type_url() == "type.googleapis.com/istio.workload.Address");
    REQUIRE(decoded<mesh::Workload>(each.resource().value()) == full_workload());
}
