#include "lib/xds/delta_client.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace culvert;
using namespace culvert::test;
using xds::DeltaResponse;
using xds::Type;

namespace {

xds::Node node() { return {"ztunnel~1.2.3.4~z.istio-system~istio-system.svc.cluster.local", "", {}}; }

template <class Value> xds::ReceivedResource resource(const Value& value, std::string version = "v1") {
    Type type = std::is_same_v<Value, mesh::Policy> ? Type::authorization : Type::address;
    return {xds::name_of(value), std::move(version), std::string(xds::url(type)), xds::body_of(value)};
}

xds::ReceivedResource broken(std::string name) {
    return {std::move(name), "v9", std::string(xds::url(Type::address)), ""};
}

DeltaResponse response(Type type, std::string nonce, std::vector<xds::ReceivedResource> resources,
                       std::vector<std::string> removed = {}) {
    return {std::string(xds::url(type)), std::move(nonce), std::move(resources), std::move(removed), 0};
}

std::vector<std::pair<std::string, std::string>> versions(xds::DeltaClient& client, std::size_t request = 0) {
    auto list = client.opened().at(request).initial_versions;
    std::ranges::sort(list);
    return list;
}

}  // namespace

TEST_CASE("a stream opens with addresses, then authorizations, each with the node [X-2][X-6]", "[xds]") {
    xds::DeltaClient client(node());
    auto requests = client.opened();
    REQUIRE(requests.size() == 2);
    REQUIRE(requests[0].type_url == "type.googleapis.com/istio.workload.Address");
    REQUIRE(requests[1].type_url == "type.googleapis.com/istio.security.Authorization");
    REQUIRE(requests[0].node == node());
    REQUIRE(requests[1].node == node());
}

TEST_CASE("a first request asks for everything with empty lists [X-7]", "[xds]") {
    xds::DeltaClient client(node());
    for (const auto& request : client.opened()) {
        REQUIRE(request.subscribe.empty());
        REQUIRE(request.unsubscribe.empty());
        REQUIRE(request.initial_versions.empty());
        REQUIRE(request.nonce.empty());
    }
}

TEST_CASE("a good response is applied and acknowledged by its nonce [X-9]", "[xds]") {
    xds::DeltaClient client(node());
    auto taken = client.received(
        response(Type::address, "n1", {resource(small_workload(1)), resource(small_service(1))}));
    REQUIRE(taken.reply.nonce == "n1");
    REQUIRE(taken.reply.type_url == xds::url(Type::address));
    REQUIRE_FALSE(taken.reply.error);
    REQUIRE_FALSE(taken.reply.node);
    REQUIRE(taken.delta.addresses.size() == 2);
    REQUIRE(std::get<mesh::Workload>(taken.delta.addresses[0]) == small_workload(1));
    REQUIRE(std::get<mesh::Service>(taken.delta.addresses[1]) == small_service(1));
}

TEST_CASE("a picture that comes in parts is complete with its last one [X-12]", "[xds]") {
    xds::DeltaClient client(node());
    CHECK(client.received(response(Type::address, "n1", {resource(small_workload(1))}))
              .delta.addresses_complete);
    for (const char* nonce : {"n2", "n3"}) {
        xds::DeltaResponse part = response(Type::authorization, nonce, {resource(small_policy(nonce[1]))});
        part.more = true;
        auto taken = client.received(part);
        CHECK(taken.delta.policies.size() == 1);  // in force at once
        CHECK_FALSE(taken.delta.policies_complete);
        CHECK_FALSE(taken.became_ready);
        CHECK_FALSE(taken.reply.error);
    }
    auto last = client.received(response(Type::authorization, "n4", {resource(small_policy(9))}));
    CHECK(last.delta.policies_complete);
    CHECK(last.became_ready);
}

TEST_CASE("bad resources reject only themselves, and the NACK names them [X-9][X-10]", "[xds]") {
    xds::DeltaClient client(node());
    auto taken = client.received(
        response(Type::address, "n1", {broken("one"), resource(small_workload(1)), broken("two")}, {"gone"}));
    REQUIRE(taken.reply.error == "one: neither workload nor service; two: neither workload nor service");
    REQUIRE(taken.reply.nonce == "n1");
    REQUIRE(taken.rejected.size() == 2);
    REQUIRE(taken.delta.addresses.size() == 1);
    REQUIRE(taken.delta.removed_addresses == std::vector<std::string>{"gone"});
}

TEST_CASE("the text of a NACK is bounded", "[xds]") {
    xds::DeltaClient client(node());
    std::vector<xds::ReceivedResource> many;
    for (int i = 0; i < 10'000; ++i) many.push_back(broken("resource-" + std::to_string(i)));
    auto taken = client.received(response(Type::address, "n", std::move(many)));
    REQUIRE(taken.reply.error->size() < xds::DeltaClient::error_text_max + 100);
    REQUIRE(taken.reply.error->ends_with("; ..."));
}

TEST_CASE("an unknown type is acknowledged and changes nothing [X-9]", "[xds]") {
    xds::DeltaClient client(node());
    auto taken =
        client.received({"type.googleapis.com/envoy.config.cluster.v3.Cluster", "n7", {broken("x")}, {}, 0});
    REQUIRE(taken.unknown_type);
    REQUIRE(taken.reply.nonce == "n7");
    REQUIRE(taken.reply.type_url == "type.googleapis.com/envoy.config.cluster.v3.Cluster");
    REQUIRE_FALSE(taken.reply.error);
    REQUIRE(taken.delta.addresses.empty());
    REQUIRE_FALSE(client.ready());
}

TEST_CASE("a name in both lists of a response ends up removed [X-10]", "[xds]") {
    xds::DeltaClient client(node());
    auto name = xds::name_of(small_workload(1));
    auto taken = client.received(response(Type::address, "n1", {resource(small_workload(1))}, {name}));
    REQUIRE(taken.delta.addresses.size() == 1);
    REQUIRE(taken.delta.removed_addresses == std::vector{name});
    REQUIRE(client.held(Type::address) == 0);
    mesh::DirectoryWriter writer;
    REQUIRE(writer.apply(taken.delta)->workloads() == 0);
}

TEST_CASE("a resource of another type than its response is rejected", "[xds]") {
    xds::DeltaClient client(node());
    auto taken = client.received(response(Type::authorization, "n1", {resource(small_workload(1))}));
    REQUIRE(taken.reply.error);
    REQUIRE(taken.delta.addresses.empty());
}

TEST_CASE("a resource that goes by another name than its own is rejected: it could never be removed [X-11]",
          "[xds]") {
    xds::DeltaClient client(node());
    auto misnamed = resource(small_workload(1));
    misnamed.name = "another";
    auto taken = client.received(response(Type::address, "n1", {misnamed}));
    REQUIRE(taken.reply.error == "another: describes Kubernetes//Pod/shop/pod-1");
    REQUIRE(taken.delta.addresses.empty());
}

TEST_CASE("policies are stored under their resource name", "[xds]") {
    xds::DeltaClient client(node());
    auto renamed = resource(small_policy(1));
    renamed.name = "elsewhere/else";
    auto taken = client.received(response(Type::authorization, "n1", {renamed}));
    REQUIRE(taken.delta.policies.at(0).key == "elsewhere/else");
    REQUIRE(taken.delta.policies.at(0).value == small_policy(1));
}

TEST_CASE("a new stream reports what is held, with the last version sent [X-8]", "[xds]") {
    xds::DeltaClient client(node());
    client.received(
        response(Type::address, "n1", {resource(small_workload(1), "a"), resource(small_workload(2), "b")}));
    client.received(response(Type::address, "n2", {resource(small_workload(2), "c")}));
    client.received(response(Type::authorization, "n3", {resource(small_policy(1), "p")}));
    auto first = xds::name_of(small_workload(1)), second = xds::name_of(small_workload(2));
    REQUIRE(versions(client) ==
            std::vector<std::pair<std::string, std::string>>{{first, "a"}, {second, "c"}});
    REQUIRE(versions(client, 1) == std::vector<std::pair<std::string, std::string>>{{"shop/policy-1", "p"}});
    client.received(response(Type::address, "n4", {}, {first}));
    REQUIRE(versions(client) == std::vector<std::pair<std::string, std::string>>{{second, "c"}});
}

TEST_CASE("a rejected resource is not reported, so that it is sent again [X-8]", "[xds]") {
    xds::DeltaClient client(node());
    client.received(response(Type::address, "n1", {broken("never-held"), resource(small_workload(1), "a")}));
    REQUIRE(versions(client).size() == 1);
}

TEST_CASE("a rejected update of what is held is reported without a version: sent again, or removed [X-8]",
          "[xds]") {
    xds::DeltaClient client(node());
    auto name = xds::name_of(small_workload(1));
    client.received(response(Type::address, "n1", {resource(small_workload(1), "a")}));
    auto taken = client.received(response(Type::address, "n2", {broken(name)}));
    REQUIRE(taken.delta.addresses.empty());
    REQUIRE(taken.delta.removed_addresses.empty());
    REQUIRE(versions(client) == std::vector<std::pair<std::string, std::string>>{{name, ""}});
}

TEST_CASE("ready after the first acknowledged response of every type, and then for good [X-12]", "[xds]") {
    xds::DeltaClient client(node());
    auto first = client.received(response(Type::address, "n1", {}));
    REQUIRE(first.delta.addresses_complete);
    REQUIRE_FALSE(first.delta.policies_complete);
    REQUIRE_FALSE(first.became_ready);
    SECTION("an empty one counts") {
        auto second = client.received(response(Type::authorization, "n2", {}));
        REQUIRE(second.became_ready);
        REQUIRE(second.delta.policies_complete);
        client.opened();
        REQUIRE(client.ready());
        REQUIRE_FALSE(client.received(response(Type::address, "n3", {})).became_ready);
    }
    SECTION("a rejected one does not") {
        auto bad = resource(small_policy(1));
        bad.body = "\xff\xff";
        REQUIRE_FALSE(client.received(response(Type::authorization, "n2", {bad})).became_ready);
        REQUIRE_FALSE(client.ready());
        REQUIRE(client.received(response(Type::authorization, "n3", {})).became_ready);
    }
}
