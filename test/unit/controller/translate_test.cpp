// What objects become: each file of test/vectors/manifests against the text beside it, which people wrote and
// checked.
#include "controller/graph.h"
#include "controller/translate/service.h"
#include "test/support/mesh_text.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>

using namespace culvert;
using namespace culvert::controller;

namespace {

std::string text_of(const Output& output) {
    return std::visit([](const auto& one) { return test::text_of(one); }, output);
}

struct Outcome {
    std::string outputs;  // by name
    std::string notes;
};

Outcome outcome_of(const std::string& name, const std::string& text, const Mesh& mesh) {
    const kube::Parsed parsed = kube::parse_manifest(name, text);
    for (const kube::Problem& problem : parsed.problems) UNSCOPED_INFO(problem.to_string());
    REQUIRE(parsed.good());
    REQUIRE_FALSE(parsed.objects.empty());
    Graph graph(mesh);
    for (const kube::ObjectPtr& object : parsed.objects) graph.set(object);
    Outcome outcome;
    for (const Output& output : graph.flush().set) outcome.outputs += text_of(output);
    for (const kube::Problem& problem : graph.notes()) outcome.notes += problem.to_string() + "\n";
    return outcome;
}

Outcome run(const std::string& name, const Mesh& mesh = {}) {
    std::ifstream file("test/vectors/manifests/" + name + ".yaml");
    std::stringstream text;
    text << file.rdbuf();
    return outcome_of(name, text.str(), mesh);
}

std::string expected(const std::string& name) {
    std::ifstream file("test/vectors/manifests/" + name + ".expected");
    std::string out;
    for (std::string line; std::getline(file, line);)
        if (!line.starts_with('#')) out += line + "\n";
    return out;
}

void check(const std::string& name) {
    const Outcome outcome = run(name);
    CHECK(outcome.outputs + "--- notes\n" + outcome.notes == expected(name));
}

}  // namespace

TEST_CASE(
    "pods become workloads with uid, identity, health, place and the ports of their services [X-20] [X-21]") {
    check("pods");
}
TEST_CASE("services become names, VIPs of both families, ports and preferences [O-18] [X-15]") {
    check("services");
}
TEST_CASE("slices add endpoints that are no pods, and pods to services without a selector [X-20] [X-21]") {
    check("slices");
}
TEST_CASE("service entries become services and endpoints; one host has one owner a namespace [X-22] [O-18]") {
    check("entries");
}
TEST_CASE("authorization policies become L4 rules, and what they cannot be is said [R-9]") {
    check("authorization");
}
TEST_CASE("STRICT becomes a denial of who has no identity, with exceptions in one rule [R-8] [V-7]") {
    check("strict");
}
TEST_CASE("a service whose L7 policy would be lost is refused, others stay at L4") { check("waypoints"); }

TEST_CASE("with l7_fail_open a service whose L7 policy is lost stays at L4") {
    Mesh mesh;
    mesh.l7_fail_open = true;
    CHECK(run("waypoints", mesh).outputs.find("waypoint ") == std::string::npos);
    CHECK(run("waypoints").outputs.find("waypoint ") != std::string::npos);
}

TEST_CASE("what a policy of the waypoints' class binds is refused, if it has a waypoint's label") {
    const std::string policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                               "metadata: {name: p, namespace: istio-system}\n"
                               "spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, "
                               "name: istio-waypoint}], action: DENY, rules: [{}]}\n";
    auto service = [](const std::string& labels) {
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop, labels: {" +
               labels + "}}\nspec: {clusterIP: 10.1.0.1, ports: [{port: 80}]}\n";
    };
    auto outputs = [&](const std::string& labels) {
        return outcome_of("class", policy + service(labels), {}).outputs;
    };
    CHECK(outputs("istio.io/use-waypoint: wp").find("waypoint shop/wp.shop") != std::string::npos);
    CHECK(outputs("").find("waypoint ") == std::string::npos);
}

TEST_CASE("an address belongs to the oldest that claims it, whatever a newer manifest says [O-27]") {
    auto service = [](const std::string& name_space, const std::string& name, const std::string& year) {
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: " + name_space +
               ", creationTimestamp: " + year +
               "-01-01T00:00:00Z}\nspec: {clusterIP: 10.1.0.1, ports: [{port: 80}]}\n";
    };
    auto pod = [](const std::string& year) {
        return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: db, namespace: shop, creationTimestamp: " +
               year + "-01-01T00:00:00Z}\nspec: {nodeName: n1}\nstatus: {podIPs: [{ip: 10.1.0.1}]}\n";
    };
    auto has_vip = [](const Outcome& outcome, const std::string& host) {
        return outcome.outputs.find("service " + host + ".svc.cluster.local\n  at /10.1.0.1\n") !=
               std::string::npos;
    };
    SECTION("two Services") {
        const Outcome outcome =
            outcome_of("x", service("evil", "a", "2026") + service("shop", "b", "2025"), {});
        CHECK(has_vip(outcome, "shop/b.shop"));
        CHECK_FALSE(has_vip(outcome, "evil/a.evil"));
        CHECK(outcome.notes.find("error: Service evil/a: spec.clusterIPs: 10.1.0.1 is the address of shop/b, "
                                 "which is older and keeps it; write an address that nobody has\n") !=
              std::string::npos);
    }
    SECTION("a Service and an older pod") {
        const Outcome outcome = outcome_of("x", pod("2025") + service("evil", "a", "2026"), {});
        CHECK_FALSE(has_vip(outcome, "evil/a.evil"));
        CHECK(outcome.notes.find("error: Service evil/a: spec.clusterIPs") != std::string::npos);
    }
    SECTION("a Service and a newer pod") {
        const Outcome outcome = outcome_of("x", pod("2026") + service("evil", "a", "2025"), {});
        CHECK(has_vip(outcome, "evil/a.evil"));
        CHECK(outcome.notes.find(
                  "error: Pod shop/db: status.podIPs: 10.1.0.1 is the cluster IP of Service evil/a") !=
              std::string::npos);
    }
    SECTION("a ServiceEntry and an older pod") {
        const std::string entry =
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
            "metadata: {name: e, namespace: evil}\nspec: {hosts: [e.example], addresses: [10.1.0.1], "
            "ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "
            "10.9.9.9}]}\n";
        const Outcome outcome = outcome_of("x", pod("2025") + entry, {});
        CHECK(outcome.outputs.find("at /10.1.0.1\n") == std::string::npos);
        CHECK(outcome.notes.find("error: ServiceEntry evil/e: spec.addresses") != std::string::npos);
    }
}

TEST_CASE("a pod of a node of ours is HBONE by its node's word, not by a label [O-11]") {
    auto hbone = [](const std::string& more) {
        const std::string text =
            "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: Pod\n"
            "metadata: {name: p, namespace: shop, labels: {networking.istio.io/tunnel: http}" +
            more + "\nstatus: {podIPs: [{ip: 10.0.0.1}]}\n";
        return outcome_of("x", text, {}).outputs.find("  hbone") != std::string::npos;
    };
    CHECK_FALSE(hbone("}\nspec: {nodeName: n1}"));
    CHECK(hbone(", annotations: {ambient.istio.io/redirection: enabled}}\nspec: {nodeName: n1}"));
    CHECK(hbone("}\nspec: {nodeName: elsewhere}"));  // of a node that is not ours nobody else speaks
}

TEST_CASE("with l7_fail_open a policy that only HTTP could enforce has no effect, and status says so") {
    Mesh mesh;
    mesh.l7_fail_open = true;
    const Outcome outcome = run("authorization", mesh);
    CHECK(outcome.outputs.find("shop/k-custom") == std::string::npos);
    CHECK(outcome.notes.find("shop/k-custom: spec.action: CUSTOM cannot be done by a node proxy "
                             "(--l7-fail-open): NOT ENFORCED") != std::string::npos);
    CHECK(outcome.notes.find("(request.headers[x]): the rule is left out (--l7-fail-open): NOT ENFORCED") !=
          std::string::npos);
    // What is left of it on L4 is enforced all the same.
    CHECK(outcome.outputs.find(
              "policy shop/g-deny denies for the namespace\n  if\n    all of port 80\npolicy") !=
          std::string::npos);
}

TEST_CASE("the static STRICT policy exists only while a PeerAuthentication does [R-8]") {
    CHECK(run("strict").outputs.find("policy istio-system/istio_converted_static_strict") !=
          std::string::npos);
    CHECK(run("pods").outputs.find("istio_converted_static_strict") == std::string::npos);
}

TEST_CASE("cluster, domain, trust domain, root namespace and network are the mesh's") {
    Mesh mesh{"c1", "corp.example", "td.example", "root", "net", false};
    const std::string pods = run("pods", mesh).outputs;
    CHECK(pods.find("workload c1//Pod/shop/old\n  of shop/old as spiffe://td.example/ns/shop/sa/default\n  "
                    "at 10.0.0.2\n"
                    "  network net\n") != std::string::npos);
    CHECK(pods.find("service shop/web.shop.svc.corp.example\n  at net/10.1.0.1 net/fd01::1\n") !=
          std::string::npos);
    // istio-system is an ordinary namespace then: its policies stay there.
    CHECK(run("authorization", mesh).outputs.find("everywhere") == std::string::npos);
}

// For authors of vectors: prints what comes out today, to be read and checked, never to be copied unread.
TEST_CASE("print a vector's outcome", "[.print]") {
    const char* name = std::getenv("VECTOR");
    REQUIRE(name);
    const Outcome outcome = run(name);
    std::printf("%s--- notes\n%s", outcome.outputs.c_str(), outcome.notes.c_str());
}
