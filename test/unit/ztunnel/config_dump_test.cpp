#include "ztunnel/config_dump.h"

#include "lib/mesh/directory_writer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace culvert;
using namespace culvert::ztunnel;

namespace {

mesh::DirectoryPtr some_directory() {
    mesh::Workload workload;
    workload.uid = "Kubernetes//Pod/shop/a";
    workload.name = "a";
    workload.name_space = "shop";
    workload.addresses = {*Ip::parse("10.0.0.1"), *Ip::parse("fd00::1")};
    workload.tunnel_protocol = mesh::TunnelProtocol::hbone;
    workload.authorization_policies = {"shop/p"};
    workload.services[{"shop", "a.shop.svc.cluster.local"}] = {{80, 8080}};
    mesh::Service service;
    service.name = "a";
    service.name_space = "shop";
    service.hostname = "a.shop.svc.cluster.local";
    service.vips = {{"", *Cidr::parse("10.96.0.1")}};
    service.ports = {{80, 8080}};
    mesh::Policy policy;
    policy.name = "p";
    policy.name_space = "shop";
    policy.action = mesh::PolicyAction::deny;
    mesh::Match match;
    match.principals.any_of = {mesh::StringMatch::exact("x\xff")};
    policy.rules = {{{{{match}}}}};
    mesh::Delta delta;
    delta.addresses = {workload, service};
    delta.policies = {{"shop/p", policy}};
    mesh::DirectoryWriter writer;
    return writer.apply(delta);
}

}  // namespace

TEST_CASE("the dump has the names and shapes that istioctl parses [A-5]", "[dump]") {
    auto pod = std::make_shared<PodInfo>();
    pod->uid = "u";
    pod->name = "a";
    pod->name_space = "shop";
    DumpInput input{.directory = some_directory(),
                    .certificates = {{"spiffe://cluster.local/ns/shop/sa/default", "Initializing", nullptr}},
                    .pods = {pod},
                    .connections = {{"u", Direction::outbound, *Address::parse("10.0.0.1:5"),
                                     *Address::parse("10.96.0.1:80"), *Address::parse("10.0.0.2:15008"),
                                     Protocol::hbone}},
                    .refusals = {{"policy_denied", 3}}};
    auto dump = nlohmann::json::parse(config_dump(input));
    for (auto key : {"workloads", "services", "policies", "stagedServices", "staticConfig", "version",
                     "config", "certificates", "workloadState"})
        CHECK(dump.contains(key));
    CHECK(dump["workloads"][0]["protocol"] == "HBONE");
    CHECK(dump["workloads"][0]["workloadIps"] == std::vector<std::string>{"10.0.0.1", "fd00::1"});
    CHECK_FALSE(dump["workloads"][0].contains("nativeTunnel"));
    CHECK(dump["services"][0]["vips"][0] == "/10.96.0.1");
    CHECK(dump["services"][0]["endpoints"]["Kubernetes//Pod/shop/a"]["port"]["80"] == 8080);
    CHECK(dump["services"][0]["visibility"] == "Public");
    CHECK(dump["policies"][0]["action"] == "Deny");
    CHECK(dump["policies"][0]["rules"][0][0][0]["principals"][0].contains("Exact"));
    CHECK(dump["certificates"][0]["state"] == "Initializing");
    CHECK(dump["workloadState"]["u"]["state"] == "Up");
    CHECK(dump["workloadState"]["u"]["connections"]["outbound"][0]["actualDst"] == "10.0.0.2:15008");
    CHECK(dump["refusals"] == nlohmann::json{{"policy_denied", 3}});
}

TEST_CASE("a dump before anything has arrived is complete and empty [A-5]", "[dump]") {
    auto dump = nlohmann::json::parse(config_dump({}));
    CHECK(dump["workloads"].empty());
    CHECK(dump["certificates"].empty());
}
