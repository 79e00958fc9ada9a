// Who belongs in the mesh, and in which order a pod gets there: pure tables, then a kernel that only records.
#include "agent/enrol.h"
#include "agent/pods.h"
#include "bpf/abi.h"

#include <catch2/catch.hpp>

#include <functional>
#include <optional>
#include <unistd.h>

using namespace culvert;
using namespace culvert::agent;

namespace {

kube::Pod ambient_pod() {
    kube::Pod pod;
    pod.metadata.name = "web";
    pod.metadata.name_space = "shop";
    pod.node = "node1";
    pod.service_account = "default";
    pod.ips = {*Ip::parse("10.0.0.5"), *Ip::parse("fd00::5")};
    return pod;
}

kube::Namespace home(const char* mode) {
    kube::Namespace made;
    made.metadata.name = "shop";
    if (*mode) made.metadata.labels["istio.io/dataplane-mode"] = mode;
    return made;
}

// Keeps what it is told as a kernel would, and the order in which it was told. `fails` names a call that is
// refused.
class RecordingKernel final : public Kernel {
public:
    std::vector<std::string> calls;
    std::string fails;
    KernelFacts state;
    std::optional<Admission> held;
    bool bypass = false;

    KernelFacts look(const Place&, const Admission& wanted) override {
        KernelFacts now = state;
        now.admitted = held == wanted;
        now.steered = state.steered && bypass == wanted.bypass_inbound;
        now.any_lookup = state.steered;
        return now;
    }
    Result<Done> admit(const Place&, const Admission& wanted) override {
        return call("admit", [&] {
            state.id = 1;
            held = wanted;
        });
    }
    Result<Done> steer(const Place&, const Admission& wanted) override {
        return call("steer", [&] {
            state.steered = true;
            bypass = wanted.bypass_inbound;
        });
    }
    Result<Done> capture(const Place&, const Admission&) override {
        return call("capture", [&] { state.captured = true; });
    }
    Result<Sweep> sweep(const Place&, bool destroy) override {
        Result<Done> done = call(destroy ? "sweep and destroy" : "sweep", [&] {
            state.swept = true;
            state.cut |= destroy;
        });
        if (!done) return refuse(std::move(done));
        return Sweep{3, destroy ? 3u : 0u};
    }
    Result<Done> release_capture(const Place&) override {
        return call("release_capture", [&] { state.captured = state.swept = state.cut = false; });
    }
    Result<Done> unsteer(const Place&) override {
        return call("unsteer", [&] { state.steered = false; });
    }
    Result<Done> release(const Place&) override {
        return call("release", [&] {
            state = {};
            held.reset();
        });
    }
    std::vector<KnownPod> known() override { return {}; }
    std::string name_of(std::uint64_t) override { return {}; }
    void forget(std::uint64_t) override {}

private:
    Result<Done> call(const std::string& name, const std::function<void()>& change) {
        calls.push_back(name);
        if (name == fails) return refuse(Reason::io, "as told");
        change();
        return Done{};
    }
};

class RecordingZtunnels final : public Ztunnels {
public:
    explicit RecordingZtunnels(std::vector<std::string>& calls) : calls_(calls) {}
    bool has = false;
    ZtunnelAnswer next{Ack::pending, {}, 1};

    void tell(const Workload&, int) override {
        calls_.push_back("tell");
        has = true;
    }
    void untell(const std::string&) override {
        calls_.push_back("untell");
        has = false;
    }
    void ask_again(const std::string&) override { calls_.push_back("ask_again"); }
    bool told(const std::string&) const override { return has; }
    ZtunnelAnswer answer(const std::string&) const override { return has ? next : ZtunnelAnswer{}; }

private:
    std::vector<std::string>& calls_;
};

// A pod whose namespace is open; any descriptor stands for it, nobody enters it here.
struct Scene {
    RecordingKernel kernel;
    RecordingZtunnels ztunnels{kernel.calls};
    Pod pod;
    Sweeping sweeping = Sweeping::strict;
    Instant time;

    Scene() {
        pod.spec = describe(ambient_pod(), nullptr, {});
        pod.uid = "uid-1";
        pod.wanted = true;
        pod.netns = Fd(dup(0));
        pod.found = pod.spec.ips;
    }
    Step go() { return advance(pod, kernel, ztunnels, {sweeping, time}); }
    void listen() { kernel.state.announced = {CV_ROLE_OUTBOUND, CV_ROLE_INBOUND, CV_ROLE_HBONE}; }
    void enrol() {
        ztunnels.next.ack = Ack::ok;
        listen();
        REQUIRE(go() == Step::enrolled);
        kernel.calls.clear();
    }
    std::vector<std::string> taken() { return std::exchange(kernel.calls, {}); }
};

using Calls = std::vector<std::string>;

}  // namespace

TEST_CASE("labels decide who is in the mesh", "[enrol]") {
    auto [own, of_namespace, expected] = GENERATE(table<std::string, std::string, Membership>({
        {"", "ambient", Membership::member},
        {"ambient", "", Membership::member},
        {"ambient", "none", Membership::member},
        {"none", "ambient", Membership::label_none},
        {"none", "", Membership::label_none},
        {"", "", Membership::not_labelled},
        {"", "none", Membership::not_labelled},
        {"true", "", Membership::not_labelled},
    }));
    INFO("pod " << own << ", namespace " << of_namespace);
    kube::Pod pod = ambient_pod();
    if (!own.empty()) pod.metadata.labels["istio.io/dataplane-mode"] = own;
    kube::Namespace space = home(of_namespace.c_str());
    CHECK(describe(pod, &space, {}).membership == expected);
}

TEST_CASE("what excludes a pod wins over its labels", "[enrol]") {
    kube::Pod pod = ambient_pod();
    kube::Namespace space = home("ambient");
    MembershipOptions options;
    CHECK(describe(pod, nullptr, options).membership == Membership::not_labelled);
    SECTION("host network") {
        pod.host_network = true;
        CHECK(describe(pod, &space, options).membership == Membership::host_network);
    }
    SECTION("a sidecar") {
        pod.metadata.annotations["sidecar.istio.io/status"] = "{}";
        CHECK(describe(pod, &space, options).membership == Membership::sidecar);
    }
    SECTION("an excluded namespace, also for a pod that asks for it") {
        options.excluded_namespaces = {"shop"};
        pod.metadata.labels["istio.io/dataplane-mode"] = "ambient";
        CHECK(describe(pod, &space, options).membership == Membership::namespace_excluded);
    }
    SECTION("a finished job") {
        pod.phase = GENERATE(kube::Phase::succeeded, kube::Phase::failed);
        CHECK(describe(pod, &space, options).membership == Membership::finished);
    }
    SECTION("no addresses") {
        pod.ips.clear();
        CHECK(describe(pod, &space, options).membership == Membership::no_addresses);
    }
}

TEST_CASE("annotations name the namespace, override DNS capture and bypass inbound [C-13]", "[enrol]") {
    kube::Pod pod = ambient_pod();
    PodSpec plain = describe(pod, nullptr, {});
    CHECK(plain.netns_path == "/run/netns/shop.web");
    CHECK(plain.dns_capture);
    CHECK_FALSE(plain.bypass_inbound);
    pod.metadata.annotations["culvert.io/network-namespace"] = "/proc/7/ns/net";
    pod.metadata.annotations["ambient.istio.io/dns-capture"] = "false";
    pod.metadata.annotations["ambient.istio.io/bypass-inbound-capture"] = "true";
    PodSpec other = describe(pod, nullptr, {});
    CHECK(other.netns_path == "/proc/7/ns/net");
    CHECK_FALSE(other.dns_capture);
    CHECK(other.bypass_inbound);
    pod.metadata.annotations["ambient.istio.io/dns-capture"] = "true";
    MembershipOptions off;
    off.dns_capture = false;
    CHECK(describe(pod, nullptr, off).dns_capture);
}

TEST_CASE("probe ports are taken as declared, and at most as many as the map has room for [S7]", "[enrol]") {
    kube::Pod pod = ambient_pod();
    for (std::uint16_t port = 8000; port < 8100; ++port) pod.probe_ports.push_back(port);
    CHECK(describe(pod, nullptr, {}).probe_ports.size() == CV_PROBE_PORTS_MAX);
}

TEST_CASE("STRICT of a workload, its namespace or the mesh applies, nearest first [S4]", "[enrol]") {
    auto policy = [](const char* where, const char* app, kube::MtlsMode mode) {
        kube::PeerAuthentication made;
        made.metadata.name = "p";
        made.metadata.name_space = where;
        if (*app) made.selector = kube::Labels{{"app", app}};
        made.mode = mode;
        return made;
    };
    using enum kube::MtlsMode;
    kube::Pod pod = ambient_pod();
    pod.metadata.labels["app"] = "web";
    auto applies = [&](std::vector<kube::PeerAuthentication> all) {
        std::vector<const kube::PeerAuthentication*> pointers;
        for (const auto& one : all) pointers.push_back(&one);
        return strict_applies(pod, pointers, "istio-system");
    };
    CHECK_FALSE(applies({}));
    CHECK(applies({policy("istio-system", "", strict)}));
    CHECK(applies({policy("shop", "", strict)}));
    CHECK(applies({policy("shop", "web", strict)}));
    CHECK_FALSE(applies({policy("other", "", strict)}));
    CHECK_FALSE(applies({policy("shop", "db", strict)}));
    CHECK_FALSE(applies({policy("istio-system", "", strict), policy("shop", "", permissive)}));
    CHECK(applies({policy("istio-system", "", strict), policy("shop", "", unset)}));
    CHECK_FALSE(applies({policy("shop", "", strict), policy("shop", "web", permissive)}));
    kube::PeerAuthentication ports = policy("shop", "web", permissive);
    ports.port_modes[8443] = strict;
    CHECK(applies({ports}));
}

TEST_CASE("maps, then ztunnel listens, then steering, then capture, then what was open before", "[enrol]") {
    Scene scene;
    CHECK(scene.go() == Step::wait_for_ztunnel);
    CHECK(scene.taken() == Calls{"admit", "tell"});
    scene.ztunnels.next.ack = Ack::ok;
    scene.listen();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken() == Calls{"steer", "capture", "sweep"});
    CHECK(scene.pod.swept.found == 3);
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken().empty());
}

TEST_CASE("leaving goes the other way", "[enrol]") {
    Scene scene;
    scene.enrol();
    scene.pod.wanted = false;
    CHECK(scene.go() == Step::out);
    CHECK(scene.taken() == Calls{"release_capture", "unsteer", "untell", "release"});
}

TEST_CASE("an answer without listeners is not believed: ztunnel is asked once more, then waited for [S9]",
          "[enrol]") {
    Scene scene;
    scene.ztunnels.next.ack = Ack::ok;
    CHECK(scene.go() == Step::wait_for_listeners);
    CHECK(scene.taken() == Calls{"admit", "tell", "ask_again"});
    CHECK(scene.go() == Step::wait_for_listeners);
    CHECK(scene.taken().empty());
    scene.ztunnels.next.connection = 2;  // another ztunnel gets its own chance
    CHECK(scene.go() == Step::wait_for_listeners);
    CHECK(scene.taken() == Calls{"ask_again"});
    CHECK_FALSE(scene.kernel.state.captured);
}

TEST_CASE("a refusal of ztunnel keeps the pod out, and says why [Z-7]", "[enrol]") {
    Scene scene;
    scene.ztunnels.next = {Ack::failed, "failure to start proxy : port taken", 1};
    CHECK(scene.go() == Step::wait_for_ztunnel);
    CHECK(scene.pod.error.find("port taken") != std::string::npos);
    CHECK_FALSE(scene.kernel.state.captured);
}

TEST_CASE("a pod that ztunnel refused is told again, ever more rarely, also while captured [Z-7]",
          "[enrol]") {
    Scene scene;
    bool captured = GENERATE(false, true);
    if (captured) {
        scene.enrol();
        scene.kernel.state.announced.clear();
    }
    scene.ztunnels.next = {Ack::failed, "too many open files", 1};
    Step waits = captured ? Step::enrolled : Step::wait_for_ztunnel;
    CHECK(scene.go() == waits);
    scene.kernel.calls.clear();
    for (Duration wait : {first_retry, first_retry * 2, first_retry * 4}) {
        scene.time = scene.time + (wait - Duration(1));
        CHECK(scene.go() == waits);
        CHECK(scene.taken().empty());
        scene.time = scene.time + Duration(1);
        CHECK(scene.go() == waits);
        CHECK(scene.taken() == Calls{"ask_again"});
    }
    scene.ztunnels.next.ack = Ack::ok;
    scene.listen();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.pod.retry_wait == first_retry);
}

TEST_CASE("listeners in the kernel's map are believed after a refusal: ztunnel tried by itself [Z-7, S9]",
          "[enrol]") {
    Scene scene;
    scene.ztunnels.next = {Ack::failed, "too many open files", 1};
    CHECK(scene.go() == Step::wait_for_ztunnel);
    scene.listen();
    scene.time = scene.time + longest_retry;
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.pod.error.empty());
    CHECK(scene.taken() ==
          Calls{"admit", "tell", "steer", "capture", "sweep"});  // and no Del that would cut it
}

TEST_CASE("a step that fails is taken again, and nothing after it before", "[enrol]") {
    Scene scene;
    scene.ztunnels.next.ack = Ack::ok;
    scene.listen();
    std::string failing = GENERATE("admit", "steer", "capture", "sweep");
    scene.kernel.fails = failing;
    Step at = scene.go();
    CHECK_FALSE(waits(at));
    CHECK(scene.pod.error.find("as told") != std::string::npos);
    CHECK(scene.kernel.calls.back() == failing);
    scene.kernel.fails.clear();
    scene.kernel.calls.clear();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.kernel.calls.front() == failing);
}

TEST_CASE("an agent that finds a captured pod keeps it, with or without a ztunnel", "[enrol]") {
    Scene scene;
    scene.enrol();
    scene.ztunnels.has = false;  // a new agent's list is empty, and no ztunnel has connected yet
    scene.ztunnels.next = {};
    scene.kernel.state.announced.clear();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken() == Calls{"tell"});
    CHECK(scene.kernel.state.captured);
    CHECK(scene.pod.error.find("does not listen") != std::string::npos);
}

TEST_CASE("a captured pod that lost its sk_lookup gets it back first", "[enrol]") {
    Scene scene;
    scene.enrol();
    scene.kernel.state.steered = false;
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken() == Calls{"steer"});
}

TEST_CASE("an address that is gone leaves the maps at once, whatever ztunnel does [S5]", "[enrol]") {
    Scene scene;
    scene.enrol();
    scene.ztunnels.next = {};
    scene.pod.found = {*Ip::parse("fd00::5"), *Ip::parse("fe80::1")};
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken() == Calls{"admit"});
    CHECK(scene.kernel.held->ip4.is_unspecified());
    CHECK(scene.kernel.held->ip6 == *Ip::parse("fd00::5"));
    scene.pod.found.clear();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.kernel.held->ip6.is_unspecified());
    CHECK(scene.kernel.state.captured);  // refused from now on, not released
}

TEST_CASE("a pod without any of its addresses is not captured yet", "[enrol]") {
    Scene scene;
    scene.pod.found = {*Ip::parse("fe80::1")};
    CHECK(scene.go() == Step::wait_for_address);
    CHECK(scene.taken().empty());
}

TEST_CASE("connections from before are destroyed where STRICT applies, always or never [S4]", "[enrol]") {
    auto [strict, sweeping, call] = GENERATE(table<bool, Sweeping, std::string>({
        {false, Sweeping::strict, "sweep"},
        {true, Sweeping::strict, "sweep and destroy"},
        {false, Sweeping::always, "sweep and destroy"},
        {true, Sweeping::never, "sweep"},
    }));
    Scene scene;
    scene.pod.spec.strict = strict;
    scene.sweeping = sweeping;
    scene.ztunnels.next.ack = Ack::ok;
    scene.listen();
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.kernel.calls.back() == call);
}

TEST_CASE("STRICT that comes after enrolment destroys what was only counted then, once [S4]", "[enrol]") {
    Scene scene;
    scene.enrol();
    scene.pod.spec.strict = true;
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken() == Calls{"sweep and destroy"});
    CHECK(scene.pod.swept.destroyed == 3);
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken().empty());
    scene.pod.spec.strict = false;
    CHECK(scene.go() == Step::enrolled);
    scene.pod.spec.strict = true;  // since capture there is nothing from before any more
    CHECK(scene.go() == Step::enrolled);
    CHECK(scene.taken().empty());
}

TEST_CASE("a kernel that forgets what it was told does not keep the agent busy for ever", "[enrol]") {
    Scene scene;
    PodFacts stuck;
    stuck.wanted = stuck.namespace_open = stuck.has_address = true;
    CHECK(next_step(stuck) == Step::admit);
    struct Forgetful final : Ztunnels {
        int told_count = 0;
        void tell(const Workload&, int) override { ++told_count; }
        void untell(const std::string&) override {}
        void ask_again(const std::string&) override {}
        bool told(const std::string&) const override { return false; }
        ZtunnelAnswer answer(const std::string&) const override { return {}; }
    } forgetful;
    advance(scene.pod, scene.kernel, forgetful, {Sweeping::never, {}});
    CHECK(forgetful.told_count < 20);
}
