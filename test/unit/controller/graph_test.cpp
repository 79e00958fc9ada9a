// The graph's two promises: what it holds equals a rebuild from scratch, and a change costs what it touches.
#include "controller/graph.h"
#include "controller/translate/entry.h"
#include "lib/base/random.h"
#include "test/support/mesh_text.h"

#include <catch2/catch.hpp>

#include <array>

using namespace culvert;
using namespace culvert::controller;

namespace {

// A small world with every kind and every reference between them, so that histories collide often.
class World {
public:
    explicit World(std::uint64_t seed) : random_(seed) {}

    kube::Object object() {
        switch (random_.below(8)) {
        case 0: return kube::Namespace{metadata(false)};
        case 1: return kube::Node{metadata(false), {}};
        case 2: return pod();
        case 3: return service();
        case 4: return slice();
        case 5: return entry();
        case 6: return authorization();
        default: return peer();
        }
    }
    std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

private:
    bool coin() { return random_.below(2) == 0; }
    template <std::size_t N> std::string one_of(const std::array<const char*, N>& words) {
        return words[random_.below(N)];
    }
    std::string name() { return one_of<3>({"a", "b", "c"}); }
    std::string space() { return one_of<3>({"x", "y", "istio-system"}); }
    std::string host() {
        return one_of<4>({"a.x.svc.cluster.local", "h.example", "i.example", "b.y.svc.cluster.local"});
    }

    kube::Labels labels() {
        kube::Labels out;
        for (const char* label : {"app", "tier"})
            if (coin()) out[label] = coin() ? "one" : "two";
        return out;
    }
    kube::Metadata metadata(bool namespaced = true) {
        kube::Metadata out;
        out.name = name();
        if (namespaced) out.name_space = space();
        out.labels = labels();
        if (below(4) == 0) out.labels["istio.io/use-waypoint"] = name();
        if (coin()) out.annotations["ambient.istio.io/redirection"] = "enabled";
        if (below(4) == 0) out.annotations["networking.istio.io/traffic-distribution"] = "PreferClose";
        if (coin()) out.created_s = static_cast<std::int64_t>(below(3));
        return out;
    }
    kube::Pod pod() {
        kube::Pod out;
        out.metadata = metadata();
        out.node = name();
        out.service_account = name();
        out.ready = coin();
        out.host_network = below(5) == 0;
        if (below(6) == 0) out.phase = kube::Phase::succeeded;
        if (below(6))
            out.ips.push_back(
                Ip::v4((below(4) ? 0x0a000000u : 0x0a010000u) + static_cast<std::uint32_t>(below(3))));
        if (coin())
            out.ports.push_back({"http", static_cast<std::uint16_t>(8080 + below(2)), kube::Protocol::tcp});
        return out;
    }
    kube::Service service() {
        kube::Service out;
        out.metadata = metadata();
        out.selector = labels();
        out.external_name = below(6) == 0;
        out.cluster_ips.push_back(Ip::v4(0x0a010000u + static_cast<std::uint32_t>(below(3))));
        out.ports.push_back(
            {"http", 80, coin() ? kube::PortRef("http") : kube::PortRef(std::uint16_t{8080}), {}, {}});
        return out;
    }
    kube::EndpointSlice slice() {
        kube::EndpointSlice out;
        out.metadata = metadata();
        if (below(5)) out.service = name();
        kube::SliceEndpoint endpoint;
        endpoint.addresses.push_back(Ip::v4(0xc0000200u + static_cast<std::uint32_t>(below(2))));
        if (coin()) endpoint.target = kube::ObjectRef{"Pod", space(), name(), {}};
        out.endpoints.push_back(endpoint);
        out.ports.push_back({"http", std::uint16_t{8080}, kube::Protocol::tcp});
        return out;
    }
    kube::ServiceEntry entry() {
        kube::ServiceEntry out;
        out.metadata = metadata();
        out.hosts.push_back(host());
        if (coin()) out.hosts.push_back("only-" + out.hosts[0]);
        out.resolution = coin() ? kube::Resolution::dns : kube::Resolution::static_;
        out.ports.push_back({"http", 80, "HTTP", 0});
        if (coin()) out.addresses.push_back(*Cidr::parse("240.240.0.9"));
        if (coin())
            out.workload_selector = kube::Labels{{"app", coin() ? "one" : "two"}};
        else if (coin())
            out.endpoints.push_back({"192.0.2.7", {}, labels(), {}, {}, 0, {}});
        if (below(4) == 0) out.export_to.push_back(coin() ? "." : "~");
        return out;
    }
    kube::AuthorizationPolicy authorization() {
        kube::AuthorizationPolicy out;
        out.metadata = metadata();
        if (coin())
            out.selector = labels();
        else if (coin())
            out.target_refs.push_back({coin() ? "Service" : "Gateway", {}, name(), {}});
        out.action = static_cast<kube::PolicyAction>(below(4));
        if (coin()) out.rules.emplace_back();
        return out;
    }
    kube::PeerAuthentication peer() {
        kube::PeerAuthentication out;
        out.metadata = metadata();
        if (coin()) out.selector = labels();
        out.mode = static_cast<kube::MtlsMode>(below(4));
        if (out.selector && !out.selector->empty() && coin())
            out.port_modes[8080] = static_cast<kube::MtlsMode>(below(4));
        return out;
    }

    SeededRandom random_;
};

using Outputs = std::map<OutputKey, Output>;

void apply(Graph& graph, Outputs& outputs) {
    Graph::Changes changes = graph.flush();
    for (const OutputKey& key : changes.removed) CHECK(outputs.erase(key) == 1);
    for (Output& output : changes.set) outputs.insert_or_assign(key_of(output), std::move(output));
}

Outputs rebuild(const Store& store, std::vector<kube::Problem>& notes) {
    Graph graph(store.mesh());
    Outputs outputs;
    // In the opposite order: the result must not depend on it.
    for (auto at = store.objects().rbegin(); at != store.objects().rend(); ++at) graph.set(at->second);
    apply(graph, outputs);
    notes = graph.notes();
    return outputs;
}

std::string text_of(const Outputs& outputs) {
    std::string out;
    for (const auto& [key, output] : outputs)
        out += std::visit([](const auto& one) { return test::text_of(one); }, output);
    return out;
}

}  // namespace

TEST_CASE("after any history the graph equals a rebuild from scratch") {
    constexpr int histories = 10'000, steps = 12;
    int differences = 0;
    for (int seed = 0; seed < histories && differences == 0; ++seed) {
        World world(static_cast<std::uint64_t>(seed));
        Graph graph{Mesh{}};
        Outputs outputs;
        for (int step = 0; step < steps; ++step) {
            kube::Object object = world.object();
            if (world.below(4) == 0)
                graph.erase(kube::key_of(object));
            else
                graph.set(std::make_shared<const kube::Object>(std::move(object)));
            if (world.below(3) == 0) apply(graph, outputs);
        }
        apply(graph, outputs);
        std::vector<kube::Problem> notes;
        const Outputs fresh = rebuild(graph.store(), notes);
        if (outputs == fresh && graph.notes() == notes) continue;
        ++differences;
        INFO("seed " << seed);
        CHECK(text_of(outputs) == text_of(fresh));
        CHECK(graph.notes() == notes);
    }
    CHECK(differences == 0);
}

namespace {

kube::ObjectPtr simple_pod(int number, bool ready = true) {
    kube::Pod pod;
    pod.metadata.name = "p" + std::to_string(number);
    pod.metadata.name_space = "shop";
    pod.metadata.labels["app"] = number % 10 == 0 ? "web" : "other" + std::to_string(number % 10);
    pod.node = "n1";
    pod.service_account = "default";
    pod.ready = ready;
    pod.ips.push_back(Ip::v4(0x0a000000u + static_cast<std::uint32_t>(number)));
    return std::make_shared<const kube::Object>(pod);
}

kube::ObjectPtr web_service(std::uint16_t port) {
    kube::Service service;
    service.metadata.name = "web";
    service.metadata.name_space = "shop";
    service.selector["app"] = "web";
    service.ports.push_back({"http", port, {}, {}, {}});
    return std::make_shared<const kube::Object>(service);
}

kube::ObjectPtr mtls(const std::string& where, kube::MtlsMode mode, kube::Labels selector = {}) {
    kube::PeerAuthentication policy;
    policy.metadata.name = "default";
    policy.metadata.name_space = where;
    policy.mode = mode;
    if (!selector.empty()) policy.selector = std::move(selector);
    return std::make_shared<const kube::Object>(policy);
}

kube::ObjectPtr node(const std::string& zone) {
    kube::Node one;
    one.metadata.name = "n1";
    one.metadata.labels["topology.kubernetes.io/zone"] = zone;
    return std::make_shared<const kube::Object>(one);
}

}  // namespace

TEST_CASE("a change recomputes what it touches and nothing else") {
    Graph graph{Mesh{}};
    graph.set(node("a"));
    graph.set(web_service(80));
    constexpr std::size_t pods = 1000, web_pods = 100;
    for (int i = 1; i <= static_cast<int>(pods); ++i) graph.set(simple_pod(i));
    CHECK(graph.flush().recomputed == pods + 3);  // node, service, the static policy

    graph.set(simple_pod(7, false));
    CHECK(graph.flush().recomputed == 1);
    graph.set(simple_pod(7, false));  // the same again
    CHECK(graph.flush().recomputed == 0);

    graph.set(simple_pod(8, false));
    graph.set(simple_pod(8, true));
    graph.set(simple_pod(9, false));
    CHECK(graph.flush().recomputed == 2);  // a burst is one round

    graph.set(web_service(81));
    CHECK(graph.flush().recomputed == 1 + web_pods);

    graph.set(mtls("elsewhere", kube::MtlsMode::strict));
    CHECK(graph.flush().recomputed == 2);  // itself and the static policy
    graph.set(mtls("shop", kube::MtlsMode::strict, {{"app", "web"}}));
    CHECK(graph.flush().recomputed == 2 + web_pods);
    graph.set(mtls("istio-system", kube::MtlsMode::permissive));
    CHECK(graph.flush().recomputed == 3 + pods);  // it is every pod's; and the policy of the selecting one

    graph.set(node("b"));
    CHECK(graph.flush().recomputed == 1 + pods);

    graph.erase(kube::key_of(*simple_pod(1)));
    const Graph::Changes gone = graph.flush();
    CHECK(gone.recomputed == 1);
    REQUIRE(gone.removed.size() == 1);
    CHECK(gone.removed[0].name == "Kubernetes//Pod/shop/p1");
    CHECK(gone.set.empty());
}

TEST_CASE("hosts that fall on one automatic address: the older entry has it") {
    // Two of the 65,534 slots' hosts, found by trying.
    std::map<std::uint16_t, std::string> seen;
    std::string first, second;
    for (int i = 0; second.empty(); ++i) {
        const std::string host = "h" + std::to_string(i) + ".example";
        auto [at, fresh] = seen.try_emplace(translate::automatic_slot(host), host);
        if (!fresh) first = at->second, second = host;
    }
    auto entry = [](const std::string& name, const std::string& host, std::int64_t age) {
        kube::ServiceEntry one;
        one.metadata.name = name;
        one.metadata.name_space = "shop";
        one.metadata.created_s = age;
        one.hosts.push_back(host);
        one.resolution = kube::Resolution::dns;
        one.ports.push_back({"http", 80, "", 0});
        return std::make_shared<const kube::Object>(one);
    };
    Graph graph{Mesh{}};
    graph.set(entry("young", first, 2));
    Outputs outputs;
    apply(graph, outputs);
    auto vips = [&](const std::string& host) {
        return std::get<mesh::Service>(outputs.at({OutputKey::Type::address, "shop/" + host})).vips.size();
    };
    CHECK(vips(first) == 2);
    graph.set(entry("old", second, 1));
    apply(graph, outputs);
    CHECK(vips(second) == 2);
    CHECK(vips(first) == 1);
    CHECK(graph.notes().size() == 1);
    graph.erase({kube::Kind::service_entry, "shop", "old"});
    apply(graph, outputs);
    CHECK(vips(first) == 2);
    CHECK(graph.notes().empty());
}
