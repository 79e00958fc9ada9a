// Pods of the manifests against namespaces that really exist and a kernel that only records: whom a namespace
// belongs to when several manifests name it, and that no manifest takes another pod's out of the mesh.
#include "agent/census.h"
#include "agent/claims.h"
#include "bpf/abi.h"
#include "test/support/netns.h"

#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

using namespace culvert;
using namespace culvert::agent;

namespace {

// What it was told, by namespace. It outlives the census, as the kernel does an agent.
class MapsKernel final : public Kernel {
public:
    struct Held {
        Admission admission;
        bool steered = false, captured = false;
    };
    std::map<std::uint64_t, Held> held;

    KernelFacts look(const Place& place, const Admission& wanted) override {
        KernelFacts facts;
        auto at = held.find(place.cookie);
        if (at == held.end()) return facts;
        facts.id = 1;
        facts.admitted = at->second.admission == wanted;
        facts.steered = facts.any_lookup = at->second.steered;
        facts.captured = facts.swept = facts.cut = at->second.captured;
        facts.announced = {CV_ROLE_OUTBOUND, CV_ROLE_INBOUND, CV_ROLE_HBONE};
        return facts;
    }
    Result<Done> admit(const Place& place, const Admission& wanted) override {
        held[place.cookie].admission = wanted;
        return Done{};
    }
    Result<Done> steer(const Place& place, const Admission&) override {
        held[place.cookie].steered = true;
        return Done{};
    }
    Result<Done> capture(const Place& place, const Admission&) override {
        held[place.cookie].captured = true;
        return Done{};
    }
    Result<Sweep> sweep(const Place&, bool) override { return Sweep{}; }
    Result<Done> release_capture(const Place& place) override {
        held[place.cookie].captured = false;
        return Done{};
    }
    Result<Done> unsteer(const Place& place) override {
        held[place.cookie].steered = false;
        return Done{};
    }
    Result<Done> release(const Place& place) override {
        held.erase(place.cookie);
        return Done{};
    }
    std::vector<KnownPod> known() override {
        std::vector<KnownPod> all;
        for (const auto& [cookie, one] : held) all.push_back({cookie, one.admission.name, true});
        return all;
    }
    std::string name_of(std::uint64_t cookie) override {
        auto at = held.find(cookie);
        return at == held.end() ? std::string() : at->second.admission.name;
    }
    void forget(std::uint64_t cookie) override { held.erase(cookie); }
};

class WillingZtunnel final : public Ztunnels {
public:
    std::set<std::string, std::less<>> list;
    void tell(const Workload& workload, int) override { list.insert(workload.uid); }
    void untell(const std::string& uid) override { list.erase(uid); }
    void ask_again(const std::string&) override {}
    bool told(const std::string& uid) const override { return list.contains(uid); }
    ZtunnelAnswer answer(const std::string&) const override { return {Ack::ok, {}, 1}; }
};

constexpr const char* address = "10.0.0.5";

Result<Done> give_address() {
    Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    auto* to = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    to->sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &to->sin_addr);
    if (::ioctl(control.get(), SIOCSIFADDR, &request) != 0) return io::refuse_os(errno);
    return Done{};
}

// One node with one namespace that several manifests may name.
struct Scene {
    std::optional<Fd> netns = test::new_netns();
    MapsKernel kernel;
    WillingZtunnel ztunnel;
    std::optional<Census> census;
    std::map<std::string, kube::Object> objects;
    bool broken = false;  // some file cannot be read

    Scene() {
        if (netns) REQUIRE(io::inside({netns->get()}, give_address));
        restart();
    }
    std::string path() const { return "/proc/self/fd/" + std::to_string(netns->get()); }
    void restart() {
        ztunnel.list.clear();
        CensusOptions options;
        options.node_name = "n1";
        census.emplace(options, kernel, ztunnel);
    }
    void put(const std::string& name, const std::string& mode) {
        kube::Pod pod;
        pod.metadata.name = name;
        pod.metadata.name_space = "shop";
        pod.metadata.labels["istio.io/dataplane-mode"] = mode;
        pod.metadata.annotations["culvert.io/network-namespace"] = path();
        pod.node = "n1";
        pod.ips = {*Ip::parse(address)};
        objects["shop/" + name] = pod;
    }
    void round() {
        auto snapshot = std::make_shared<kube::Snapshot>();
        snapshot->read = true;
        snapshot->files = objects.size();
        for (const auto& [key, object] : objects) {
            auto shared = std::make_shared<const kube::Object>(object);
            snapshot->objects[kube::key_of(*shared)] = shared;
        }
        if (broken)
            snapshot->problems.push_back({kube::Problem::Severity::error, "x.yaml", 1, {}, {}, "broken", {}});
        census->learn(snapshot);
        census->round();
    }
    Step step(const std::string& name) { return census->pods().at("shop/" + name)->step; }
    std::string error(const std::string& name) { return census->pods().at("shop/" + name)->error; }
    std::string holder() {
        return kernel.held.empty() ? "nobody" : kernel.held.begin()->second.admission.name;
    }
    bool captured() { return !kernel.held.empty() && kernel.held.begin()->second.captured; }
};

}  // namespace

TEST_CASE("whose namespace it is: the kernel's word, else the only one that wants it, else nobody's",
          "[census]") {
    using Claims = std::vector<Claim>;
    CHECK(judge(Claims{{"s/a", true}}, "", false).owner == "s/a");
    CHECK(judge(Claims{{"s/a", false}}, "", false).owner == "s/a");
    CHECK(judge(Claims{{"s/a", true}, {"s/b", true}}, "", false).owner.empty());
    CHECK(judge(Claims{{"s/a", false}, {"s/b", true}}, "", false).owner == "s/b");
    CHECK(judge(Claims{{"s/a", false}, {"s/b", false}}, "", false).owner.empty());
    CHECK(judge(Claims{{"s/a", true}, {"s/b", true}}, "s/b", true).owner == "s/b");
    CHECK(judge(Claims{{"s/a", true}, {"s/b", false}}, "s/b", true).owner == "s/b");
    CHECK(judge(Claims{{"s/a", true}}, "s/x", true).owner.empty());
    CHECK(judge(Claims{{"s/a", true}}, "s/x", false).owner == "s/a");
}

TEST_CASE(
    "a manifest that names a captured pod's namespace gets nothing and frees nothing, also after a restart",
    "[census]") {
    Scene scene;
    CULVERT_SKIP_WITHOUT(scene.netns);
    scene.put("web", "ambient");
    scene.round();
    REQUIRE(scene.step("web") == Step::enrolled);
    std::string mode = GENERATE("ambient", "none");
    scene.put("aaa", mode);  // comes first by name
    for (int i = 0; i < 3; ++i) {
        if (i == 1) scene.restart();
        scene.round();
        CHECK(scene.step("web") == Step::enrolled);
        CHECK(scene.holder() == "shop/web");
        CHECK(scene.captured());
        if (mode == "ambient") CHECK(scene.error("aaa").find("shop/web") != std::string::npos);
    }
    // It leaves by its own manifest only; then the other may have it.
    scene.put("web", "none");
    scene.round();
    scene.round();
    CHECK(scene.holder() == (mode == "ambient" ? "shop/aaa" : "nobody"));
}

TEST_CASE("of two pods that want one namespace neither gets it, and each is told why", "[census]") {
    Scene scene;
    CULVERT_SKIP_WITHOUT(scene.netns);
    scene.put("a", "ambient");
    scene.put("b", "ambient");
    scene.round();
    CHECK(scene.holder() == "nobody");
    for (const char* name : {"a", "b"}) {
        CHECK(scene.step(name) == Step::wait_for_namespace);
        CHECK(scene.error(name) == "several pods name its network namespace: shop/a, shop/b");
    }
    scene.objects.erase("shop/a");
    scene.round();
    CHECK(scene.step("b") == Step::enrolled);
    CHECK(scene.ztunnel.list.size() == 1);
}

TEST_CASE("a namespace of a pod that is gone is taken over captured, but not while a file may name that pod",
          "[census]") {
    Scene scene;
    CULVERT_SKIP_WITHOUT(scene.netns);
    scene.put("old", "ambient");
    scene.round();
    REQUIRE(scene.captured());
    scene.restart();
    scene.objects.clear();
    scene.put("new", "ambient");
    scene.broken = true;
    scene.round();
    CHECK(scene.holder() == "shop/old");
    CHECK(scene.captured());
    CHECK(scene.error("new") == "its network namespace is captured as pod shop/old");
    scene.broken = false;
    scene.round();
    CHECK(scene.holder() == "shop/new");
    CHECK(scene.captured());
}

TEST_CASE("an agent that starts over an empty directory releases nobody: the disk may not be mounted yet",
          "[census]") {
    Scene scene;
    CULVERT_SKIP_WITHOUT(scene.netns);
    scene.put("web", "ambient");
    scene.round();
    REQUIRE(scene.captured());
    scene.objects.clear();
    scene.restart();
    scene.round();
    CHECK(scene.captured());
    CHECK(scene.census->abandoned() == std::vector<std::string>{"shop/web"});
    kube::Namespace other;
    other.metadata.name = "other";
    scene.objects["other"] = other;
    scene.round();
    CHECK(scene.holder() == "nobody");
}
