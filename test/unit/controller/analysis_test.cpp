// What is valid and probably not meant: found, named with its fix, and an error only where protection is
// lost.
#include "controller/analysis.h"
#include "controller/validate.h"
#include "test/support/scratch.h"

#include <catch2/catch.hpp>

#include <fstream>

using namespace culvert;
using namespace culvert::controller;
using namespace culvert::test;

namespace {

constexpr const char* base = R"(apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.0.0.1}]}
)";

std::string policy(const std::string& name_space, const std::string& spec) {
    return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, "
           "namespace: " +
           name_space + "}\nspec: " + spec + "\n";
}

std::string peers(const std::string& name, const std::string& mode) {
    return "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: " + name +
           ", namespace: shop}\nspec: {mtls: {mode: " + mode + "}}\n";
}

// The verdict on one file, as lines.
std::string remarks(const std::string& text) {
    const Scratch scratch;
    std::ofstream(scratch.path("m.yaml")) << text;
    auto verdict = validate(scratch.path("m.yaml"), Mesh{});
    REQUIRE(verdict);
    return to_text(*verdict);
}

void check_says(const std::string& text, const std::string& severity, const std::string& what) {
    const std::string said = remarks(text);
    INFO(said);
    const std::size_t at = said.find(what);
    REQUIRE(at != said.npos);
    const std::size_t line = said.rfind('\n', at) == said.npos ? 0 : said.rfind('\n', at) + 1;
    CHECK(said.substr(line, at - line).find(": " + severity + ": ") != said.npos);
}

}  // namespace

TEST_CASE("a mesh that is meant as it is written gets no remark") {
    CHECK(remarks(base + policy("shop", "{action: DENY, selector: {matchLabels: {app: db}}, rules: [{}]}") +
                  peers("default", "STRICT")) == "5 objects in force\n");
}

TEST_CASE("an opted-out pod that a policy selects, and a typo in the label, lose protection") {
    std::string out = base;
    out.replace(out.find("{app: db}"), 9, "{app: db, istio.io/dataplane-mode: none}");
    check_says(
        out + policy("shop", "{action: DENY, selector: {matchLabels: {app: db}}, rules: [{}]}"), "error",
        "selects shop/db, which istio.io/dataplane-mode: none takes out of the mesh: NOT ENFORCED there");
    out = base;
    out.replace(out.find("ambient"), 7, "ambientt");
    check_says(out, "error", "'ambientt' is neither ambient nor none");
}

TEST_CASE("a namespace that nobody declared is an error where policies count on it") {
    const std::string pod = std::string(base).substr(std::string(base).find("---"));
    check_says(pod, "warning", "Namespace shop: does not exist");
    check_says(pod + policy("shop", "{action: DENY, rules: [{}]}"), "error",
               "1 pods are not in the mesh, its policies are NOT ENFORCED there");
    check_says(base + policy("nowhere", "{action: DENY, rules: [{}]}"), "warning",
               "Namespace nowhere: does not");
}

TEST_CASE("a selector that selects nothing is a warning: of a policy and of a Service") {
    check_says(base + policy("shop", "{action: DENY, selector: {matchLabels: {app: dbb}}, rules: [{}]}"),
               "warning", "selects no pod of namespace shop: the policy has no effect");
    const std::string service =
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: "
        "{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{port: 80}]";
    check_says(base + service + ", selector: {app: x}}\n", "warning", "the service has no endpoint");
    check_says(base + service + "}\n", "warning", "there is no EndpointSlice");
}

TEST_CASE("a principal with its scheme matches nobody: an error where that lets somebody in") {
    const std::string from = "rules: [{from: [{source: {principals: [spiffe://cluster.local/ns/a/sa/b]}}]}]}";
    check_says(base + policy("shop", "{action: DENY, " + from), "error", "begins with spiffe://");
    check_says(base + policy("shop", "{action: ALLOW, " + from), "warning", "begins with spiffe://");
    check_says(base + policy("shop", "{action: ALLOW, rules: [{from: [{source: {notPrincipals: "
                                     "[spiffe://cluster.local/ns/a/sa/b]}}]}]}"),
               "error", "begins with spiffe://");
}

TEST_CASE("of two PeerAuthentications for a whole namespace the younger has no effect") {
    check_says(base + peers("a", "PERMISSIVE") + peers("b", "STRICT"), "error", "has no effect: shop/a is");
    check_says(base + peers("a", "STRICT") + peers("b", "PERMISSIVE"), "warning", "has no effect: shop/a is");
}

TEST_CASE("validate reads a directory or a file, names skipped directories, and speaks JSON") {
    const Scratch scratch;
    std::filesystem::create_directory(scratch.path("sub"));
    std::ofstream(scratch.path("m.yaml")) << base;
    auto verdict = validate(scratch.path(), Mesh{});
    REQUIRE(verdict);
    CHECK(verdict->ok());
    CHECK(to_text(*verdict).find("sub: warning: is a directory: what is in there is not read") !=
          std::string::npos);
    std::ofstream(scratch.path("m.yaml")) << base << "---\nkind: [\n";
    verdict = validate(scratch.path("m.yaml"), Mesh{});
    REQUIRE(verdict);
    CHECK_FALSE(verdict->ok());
    CHECK(to_json(*verdict).find(R"("ok": false)") != std::string::npos);
    CHECK(to_json(*verdict).find(R"("severity": "error")") != std::string::npos);
    CHECK_FALSE(validate(scratch.path("none"), Mesh{}));
}
