// What a manifest means, and what is said about a bad one: file, line, field and fix.
#include "lib/kube/manifests.h"

#include <catch2/catch.hpp>

#include <string>

using namespace culvert;
using namespace culvert::kube;

namespace {

Parsed parse(std::string_view text) { return parse_manifest("m.yaml", text); }

template <class T> T only(std::string_view text) {
    const Parsed parsed = parse(text);
    for (const Problem& problem : parsed.problems) UNSCOPED_INFO(problem.to_string());
    REQUIRE(parsed.good());
    REQUIRE(parsed.objects.size() == 1);
    REQUIRE(std::holds_alternative<T>(*parsed.objects[0]));
    return std::get<T>(*parsed.objects[0]);
}

// The one problem of `text`, as it is printed.
std::string complaint(std::string_view text) {
    const Parsed parsed = parse(text);
    std::string all;
    for (const Problem& problem : parsed.problems) all += (all.empty() ? "" : "\n") + problem.to_string();
    CHECK(parsed.objects.empty());
    return all;
}

constexpr std::string_view pod_head = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n";

}  // namespace

TEST_CASE("a pod is read with what the mesh needs of it", "[kube]") {
    const Pod pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  uid: 11-22
  labels: {app: web, version: "2"}
  annotations: {ambient.istio.io/redirection: enabled}
  creationTimestamp: 2026-01-31T12:00:00Z
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d, uid: "33", controller: true}]
spec:
  nodeName: n1
  serviceAccountName: web
  initContainers:
  - {name: once, image: x, ports: [{containerPort: 1}]}
  - {name: side, image: x, restartPolicy: Always, ports: [{name: stats, containerPort: 9}]}
  containers:
  - name: app
    image: nginx
    ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, protocol: UDP}]
    livenessProbe: {httpGet: {path: /, port: http}}
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 5}
    lifecycle: {preStop: {httpGet: {port: 9001}}}
status:
  phase: Running
  conditions: [{type: Ready, status: "False"}]
  podIP: 10.0.0.5
  podIPs: [{ip: 10.0.0.5}, {ip: "fd00::5"}]
)");
    CHECK(pod.metadata.labels.at("version") == "2");
    CHECK(pod.metadata.created_s == 1769860800);
    CHECK(pod.metadata.owners.at(0).name == "web-5d");
    CHECK(pod.metadata.origin == Origin{"m.yaml", 2});
    CHECK(pod.node == "n1");
    CHECK(pod.service_account == "web");
    CHECK_FALSE(pod.ready);
    CHECK(pod.ips == std::vector{*Ip::parse("10.0.0.5"), *Ip::parse("fd00::5")});
    CHECK(pod.containers == std::vector<std::string>{"side", "app"});
    CHECK(pod.ports.size() == 3);
    CHECK(pod.probe_ports == std::vector<std::uint16_t>{8080, 9000, 9001});
}

TEST_CASE("a pod without a Ready condition counts as ready, and without a namespace is in default",
          "[kube]") {
    const Pod pod = only<Pod>("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: n1}\n"
                              "status: {podIPs: [{ip: 10.0.0.1}]}");
    CHECK(pod.ready);
    CHECK(pod.metadata.name_space == "default");
    CHECK(pod.service_account == "default");
}

TEST_CASE("a service is read with its VIPs of both families and its balancing", "[kube]") {
    const Service service = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  clusterIP: 10.1.0.1
  clusterIPs: [10.1.0.1, "fd01::1"]
  ipFamilies: [IPv4, IPv6]
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  publishNotReadyAddresses: true
  ports:
  - {name: http, port: 80, targetPort: http, appProtocol: http}
  - {name: https, port: 443, targetPort: 8443}
)");
    CHECK(service.cluster_ips.size() == 2);
    CHECK(service.ip_families == kube::IpFamilies::dual);
    CHECK(service.internal_traffic_local);
    CHECK(service.publish_not_ready);
    CHECK(service.traffic_distribution == "PreferClose");
    CHECK(std::get<std::string>(service.ports.at(0).target) == "http");
    CHECK(std::get<std::uint16_t>(service.ports.at(1).target) == 8443);
}

TEST_CASE("several documents and Lists are read in their order", "[kube]") {
    const Parsed parsed = parse(R"(
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
# nothing here
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: b}}
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
...
)");
    REQUIRE(parsed.good());
    REQUIRE(parsed.objects.size() == 3);
    CHECK(key_of(*parsed.objects[1]).to_string() == "Namespace b");
    CHECK(std::get<Node>(*parsed.objects[2]).addresses.size() == 1);
}

TEST_CASE("JSON is YAML", "[kube]") {
    only<Namespace>(
        R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"x": "y"}}})");
}

TEST_CASE("an anchor and its alias are one value", "[kube]") {
    const Service service = only<Service>("apiVersion: v1\nkind: Service\nmetadata:\n  name: &n web\n"
                                          "spec: {selector: {app: *n}, ports: [{port: 80}]}");
    CHECK(service.selector.at("app") == "web");
}

TEST_CASE("an unknown field is an error that names file, line, field and the nearest known name", "[kube]") {
    CHECK(complaint(std::string(pod_head) + "spec:\n  nodename: n1\n") ==
          "m.yaml:5: error: Pod shop/web: spec.nodename: unknown field; did you mean nodeName?");
    CHECK(
        complaint("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec:\n"
                  "  rules:\n  - from:\n    - source:\n        principal: [a]\n        namespaces: [b]\n") ==
        "m.yaml:8: error: AuthorizationPolicy default/p: spec.rules[0].from[0].source.principal: unknown "
        "field; "
        "did you mean principals?");
}

TEST_CASE("bad values are errors with their line and a fix", "[kube]") {
    struct Row {
        const char* text;
        const char* expected;
    };
    const Row row = GENERATE(values<Row>({
        {"- a",
         "m.yaml:1: error: a document must be an object with apiVersion and kind; check the indentation and "
         "the lines with ---"},
        {"apiVersion: v1\nkind: Pods\nmetadata: {name: a}",
         "m.yaml:2: error: kind: unknown kind \"Pods\" of apiVersion \"v1\"; did you mean Pod?"},
        {"apiVersion: v2\nkind: Pod\nmetadata: {name: a}",
         "m.yaml:1: error: Pod default/a: apiVersion: Pod is not known with apiVersion \"v2\"; use v1"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: ../a}",
         "m.yaml:3: error: Pod default/../a: metadata.name: is no valid name; use lower-case letters, digits "
         "and '-'"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {}",
         "m.yaml:3: error: Pod default/: metadata.name: is missing"},
        {"apiVersion: v1\nkind: Node\nmetadata: {name: a, namespace: b}",
         "m.yaml:3: error: Node a: metadata.namespace: a Node belongs to no namespace; remove it"},
        {"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    mesh: yes",
         "m.yaml:6: error: Namespace a: metadata.labels.mesh: must be text, not true or false; put it in "
         "quotes"},
        {"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: 12",
         "m.yaml:4: error: Namespace 12: metadata.name: must be text, not a number; put it in quotes"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: \"80\"",
         "m.yaml:6: error: Service default/a: spec.ports[0].port: must be a whole number from 1 to 65535; "
         "remove the "
         "quotes"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - port: 70000",
         "m.yaml:6: error: Service default/a: spec.ports[0].port: must be a whole number from 1 to 65535"},
        {"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  clusterIP: 10.0.0.256",
         "m.yaml:5: error: Service default/a: spec.clusterIP: \"10.0.0.256\" is no IP address; write an "
         "address, or "
         "None"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: [b]",
         "m.yaml:4: error: Pod default/a: spec: must be a map, not a list"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIPs: [{ip: 127.0.0.1}]}",
         "m.yaml:4: error: Pod default/a: status.podIPs: 127.0.0.1 cannot be a pod's address"},
        {"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec:\n  mtls:\n"
         "    mode: strict",
         "m.yaml:6: error: PeerAuthentication default/a: spec.mtls.mode: \"strict\" is none of UNSET, "
         "DISABLE, "
         "PERMISSIVE, STRICT; did you mean STRICT?"},
        {"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec:\n"
         "  portLevelMtls: {80: {mode: STRICT}}",
         "m.yaml:5: error: PeerAuthentication default/a: spec.portLevelMtls: needs a selector; name the "
         "workloads in "
         "spec.selector.matchLabels"},
        {"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n  rules:\n"
         "  - from:\n    - source: {}",
         "m.yaml:7: error: AuthorizationPolicy default/a: spec.rules[0].from[0].source: says nothing about "
         "the "
         "source; name what must match, or remove it"},
        {"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n  rules:\n"
         "  - from:\n    - source: {ipBlocks: [10.0.0.0/33]}",
         "m.yaml:7: error: AuthorizationPolicy default/a: spec.rules[0].from[0].source.ipBlocks: "
         "\"10.0.0.0/33\" is no "
         "IP address or range; write 10.0.0.1 or 10.0.0.0/8"},
        {"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  hosts: "
         "[a.example]\n"
         "  resolution: STATIC\n  ports: [{name: http, number: 80}]\n  endpoints: [{address: b.example}]",
         "m.yaml:8: error: ServiceEntry default/a: spec.endpoints[0].address: must be an IP address when "
         "resolution is "
         "STATIC; use an address, or resolution: DNS"},
    }));
    CHECK(complaint(row.text) == row.expected);
}

TEST_CASE("malformed YAML is an error with its line", "[kube]") {
    struct Row {
        const char* text;
        int line;
    };
    const Row row = GENERATE(values<Row>({
        {"a: b\n c: d\n", 2},
        {"a: [1, 2\nb: c\n", 2},
        {"a: \"b\n", 1},
        {"a: 1\na: 2\n", 2},
        {"a: 1\n\nb: 'c''d\n\ne: 'f", 5},
        {"a: \xff\xfe\n", 1},
        {"a: *x\n", 1},
        {"a: !ruby/object x\n", 1},
        {"a: b\x04\nc: d\n", 1},
        {"{a: b}: c\n", 1},
    }));
    INFO(row.text);
    const Parsed parsed = parse(row.text);
    for (const Problem& problem : parsed.problems) UNSCOPED_INFO(problem.to_string());
    REQUIRE_FALSE(parsed.problems.empty());
    CHECK_FALSE(parsed.good());
    CHECK(parsed.problems.back().line == row.line);
}

TEST_CASE("one error makes the whole file bad, a warning does not", "[kube]") {
    const std::string good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    CHECK(parse(good + "---\napiVersion: v1\nkind: Namespace\n").objects.empty());
    const Parsed warned =
        parse(good + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {x: 1}\n");
    CHECK(warned.good());
    CHECK(warned.objects.size() == 1);
    REQUIRE(warned.problems.size() == 1);
    CHECK(warned.problems[0].to_string() ==
          "m.yaml:6: warning: kind: Deployment is not read by this version: it has no effect here");
}

TEST_CASE("alias bombs, deep nesting and floods are refused before they cost memory", "[kube][limits]") {
    std::string laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
    for (char c = 'b'; c <= 'i'; ++c) {
        const std::string before(1, static_cast<char>(c - 1));
        laughs += std::string(1, c) + ": &" + c + " [";
        for (int i = 0; i < 10; ++i) laughs += "*" + before + ",";
        laughs += "]\n";
    }
    CHECK(parse(laughs).problems.at(0).message == "the file holds too many values");
    CHECK(parse(std::string(5000, '[')).problems.at(0).message == "values are nested too deeply");
    std::string text = "a: &a " + std::string(1 << 20, 'x') + "\nb: [";
    for (int i = 0; i < 100; ++i) text += "*a,";
    CHECK(parse(text + "]").problems.at(0).message == "the file holds too much text");
    std::string many;
    for (int i = 0; i < 200; ++i) many += "---\napiVersion: v1\nkind: Pod\n";
    CHECK(parse(many).problems.size() == file_problems_max);
}

TEST_CASE("ages decide: creationTimestamp first, then file and order", "[kube]") {
    Metadata old, young, undated, later;
    old.created_s = 1, young.created_s = 2;
    undated.origin = {"a.yaml", 1}, later.origin = {"a.yaml", 9};
    CHECK(older(old, young));
    CHECK(older(young, undated));
    CHECK(older(undated, later));
    CHECK_FALSE(older(later, undated));
}

TEST_CASE("what a manifest says stands on the one line of its problem", "[kube]") {
    const auto parsed =
        parse_manifest("a\nb.yaml", "apiVersion: v1\nkind: \"Po\\nd: fine\\e[2J\"\nmetadata: {name: x}\n");
    REQUIRE(parsed.problems.size() == 1);
    const std::string line = parsed.problems[0].to_string();
    INFO(line);
    CHECK(line.starts_with("a\\nb.yaml:"));
    CHECK(line.find("Po\\nd: fine\\u001b[2J") != std::string::npos);
    CHECK(line.find('\n') == std::string::npos);
}
