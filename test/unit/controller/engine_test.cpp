// Manifests and reports in, snapshots out: what the mesh says of enrolment, and when.
#include "controller/engine.h"
#include "controller/translate/workload.h"
#include "lib/xds/resources.h"
#include "test/support/manual_executor.h"
#include "test/support/scratch.h"
#include "test/unit/controller/objects.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <optional>
#include <sys/stat.h>

using namespace culvert;
using namespace culvert::controller;
using namespace culvert::test;

namespace {

std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

int mode(const std::string& path) {
    struct stat info{};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    return static_cast<int>(info.st_mode & 07777);
}

// A controller without a network, on a clock of its own. `state` survives it.
struct Rig {
    explicit Rig(const Scratch& scratch)
        : state(scratch), tokens(tls::TokenKey::open(scratch.path()).value()), refusals(metrics),
          files((::mkdir(scratch.path("nodes").c_str(), 0700), scratch.path("nodes")), tokens, "the root\n") {
        engine.emplace(
            Mesh{}, Enrolments::open(scratch.path("enrolled")).value(),
            Engine::Parts{executor, residents, files, refusals, board, metrics, [this](xds::SnapshotPtr now) {
                              published = std::move(now);
                              ++publications;
                          }});
    }

    void manifests(const std::vector<kube::Object>& objects) {
        engine->manifests(snapshot(objects));
        executor.run();
    }
    // True when the report was acknowledged.
    bool report(const std::string& node, std::vector<xds::PodReport> pods, bool whole = false) {
        bool applied = false;
        engine->report({node, "test"}, {node, whole, 1, std::move(pods)},
                       [&](Result<Done> done) { applied = done.has_value(); });
        executor.run();
        return applied;
    }
    // Each workload that is published, with whether it is HBONE.
    std::map<std::string, bool> workloads() const {
        std::map<std::string, bool> out;
        if (!published) return out;
        published->for_each(xds::Type::address, [&](const xds::ResourcePtr& one) {
            if (one->name.find("//Pod/") == std::string::npos) return;
            out[one->name.substr(one->name.find("shop/"))] = hbone(*one);
        });
        return out;
    }
    static bool hbone(const xds::Resource& resource);
    std::uint64_t refused(const std::string& reason) const {
        for (const auto& [word, count] : refusals.list())
            if (word == reason) return count;
        return 0;
    }

    const Scratch& state;
    ManualExecutor executor;
    Registry metrics;
    tls::TokenKey tokens;
    Residents residents;
    Refusals refusals;
    Board board;
    NodeFiles files;
    xds::SnapshotPtr published;
    int publications = 0;
    std::optional<Engine> engine;
};

// The two states of one test pod have different bytes: compare with what encode() makes of each.
bool Rig::hbone(const xds::Resource& resource) {
    for (const std::string& name : {"a", "b", "c"}) {
        for (bool is : {false, true}) {
            for (const char* node : {"n1", "n2"}) {
                kube::Pod one = pod(name, node);
                if (is) one.metadata.annotations["ambient.istio.io/redirection"] = "enabled";
                if (resource.version ==
                    xds::encode(translate::pod_workload(Mesh{}, {one, nullptr, {}, {}, {}}))->version)
                    return is;
            }
        }
    }
    FAIL("an unexpected workload " << resource.name);
    return false;
}

xds::PodReport says(const std::string& name, bool enrolled, const std::string& uid = {}) {
    return {uid.empty() ? "uid-" + name : uid, "shop", name, enrolled, enrolled ? "" : "no_label", false};
}
xds::PodReport left(const std::string& uid) {
    xds::PodReport out;
    out.uid = uid;
    out.gone = true;
    return out;
}

using Workloads = std::map<std::string, bool>;

}  // namespace

TEST_CASE("a pod is HBONE once its own node says that this very pod is enrolled, and never by its manifest") {
    const Scratch scratch;
    Rig rig(scratch);
    kube::Pod boastful = pod("a", "n1");
    boastful.metadata.annotations["ambient.istio.io/redirection"] = "enabled";
    rig.manifests({node("n1"), node("n2"), boastful, pod("b", "n2")});
    CHECK(rig.workloads() == Workloads{{"shop/a", false}, {"shop/b", false}});

    CHECK(rig.report("n2", {says("a", true)}));  // not its pod
    CHECK(rig.workloads().at("shop/a") == false);
    CHECK(rig.report("n1", {says("a", true, "another-uid")}));
    CHECK(rig.workloads().at("shop/a") == false);
    CHECK(rig.report("n1", {says("a", true)}));
    CHECK(rig.workloads() == Workloads{{"shop/a", true}, {"shop/b", false}});
    CHECK(rig.report("n1", {says("a", false)}));
    CHECK(rig.workloads().at("shop/a") == false);
}

TEST_CASE("a pod that is gone, or missing from a whole report, is enrolled no more") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1"), pod("a", "n1"), pod("b", "n1")});
    CHECK(rig.report("n1", {says("a", true), says("b", true)}, true));
    CHECK(rig.workloads() == Workloads{{"shop/a", true}, {"shop/b", true}});
    CHECK(rig.report("n1", {left("uid-a")}));
    CHECK(rig.workloads() == Workloads{{"shop/a", false}, {"shop/b", true}});
    // An older pod of the same name leaving changes nothing about the newer one.
    CHECK(rig.report("n1", {says("a", true), left("uid-of-the-older-a")}));
    CHECK(rig.workloads().at("shop/a"));
    CHECK(rig.report("n1", {says("a", true)}, true));
    CHECK(rig.workloads() == Workloads{{"shop/a", true}, {"shop/b", false}});
}

TEST_CASE("a pod without a uid in its manifest is known by its name on its node") {
    const Scratch scratch;
    Rig rig(scratch);
    kube::Pod nameless = pod("a", "n1");
    nameless.metadata.uid.clear();
    rig.manifests({node("n1"), nameless});
    CHECK(rig.report("n1", {says("a", true, "shop/a@4026531840")}));
    CHECK(rig.workloads().at("shop/a"));
}

TEST_CASE("a report may come before the pod's manifest, and outlives its change") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1")});
    CHECK(rig.report("n1", {says("a", true)}));
    rig.manifests({node("n1"), pod("a", "n1")});
    CHECK(rig.workloads().at("shop/a"));
}

TEST_CASE("what agents said survives a restart: an enrolled pod is never offered in plaintext for it") {
    const Scratch scratch;
    {
        Rig rig(scratch);
        rig.manifests({node("n1"), pod("a", "n1")});
        CHECK(rig.report("n1", {says("a", true)}));
    }
    CHECK(mode(scratch.path("enrolled")) == 0700);
    CHECK(mode(scratch.path("enrolled/n1")) == 0600);
    Rig rig(scratch);
    rig.manifests({node("n1"), pod("a", "n1")});
    CHECK(rig.publications == 1);  // the first thing that is said is right already
    CHECK(rig.workloads().at("shop/a"));
    rig.manifests({pod("a", "n1")});  // without the node its word does not count
    CHECK_FALSE(rig.workloads().at("shop/a"));
}

TEST_CASE("an impossible report changes nothing, is not acknowledged, and is counted") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1"), pod("a", "n1")});
    CHECK(rig.report("n1", {says("a", true)}));
    std::uint64_t before = 0;
    for (const xds::PodReport& bad :
         {says("../x", true), says("a", true, "uid with space"), says("a", true, std::string(600, 'x')),
          xds::PodReport{"u", "shop", "a", false, "two\nlines", false},
          xds::PodReport{"u", "Shop", "a", true, "", false}, left("")}) {
        CHECK_FALSE(rig.report("n1", {says("a", false), bad}));
        CHECK(rig.refused("bad_input") == ++before);
    }
    std::vector<xds::PodReport> flood;
    for (std::size_t i = 0; i <= Enrolments::pods_of_node_max; ++i)
        flood.push_back(says("p" + std::to_string(i), true));
    CHECK_FALSE(rig.report("n1", flood));
    CHECK(rig.refused("limit") == 1);
    bool applied = false;
    rig.engine->report({"n1", "test"}, {"n2", true, 1, {}},
                       [&](Result<Done> done) { applied = done.has_value(); });
    rig.executor.run();
    CHECK_FALSE(applied);
    CHECK(rig.workloads().at("shop/a"));
}

TEST_CASE("a report that is refused or cannot be kept is answered with why, and is kept when said again") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1"), pod("a", "n1")});
    auto say = [&](const std::string& by, std::vector<xds::PodReport> pods) {
        Reason reason = Reason::internal;
        rig.engine->report({by, "test"}, {by, true, 1, std::move(pods)},
                           [&](Result<Done> done) { reason = done ? Reason::none : done.error().reason; });
        rig.executor.run();
        return reason;
    };
    CHECK(say("n1", {says("a", true, "uid with space")}) == Reason::bad_input);
    CHECK(say("n9", {says("a", true)}) == Reason::permission);  // a node that is gone, on its last stream
    REQUIRE(::mkdir(scratch.path("enrolled/n1").c_str(), 0700) == 0);  // in the way of its file
    CHECK(say("n1", {says("a", true)}) != Reason::none);
    CHECK(rig.workloads().at("shop/a"));  // believed all the same: the closed side
    CHECK(say("n1", {says("a", true)}) != Reason::none);
    REQUIRE(::rmdir(scratch.path("enrolled/n1").c_str()) == 0);
    CHECK(say("n1", {says("a", true)}) == Reason::none);
    CHECK(Enrolments::open(scratch.path("enrolled"))->of("n1").size() == 1);
}

TEST_CASE("the longest report that a node may make can be read again at the next start") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1")});
    std::vector<xds::PodReport> most;
    for (std::size_t i = 0; i < Enrolments::pods_of_node_max; ++i) {
        most.push_back(says("p" + std::to_string(i), false, std::string(500, 'u') + std::to_string(i)));
        most.back().reason = std::string(512, 'r');
    }
    CHECK(rig.report("n1", most));
    auto kept = Enrolments::open(scratch.path("enrolled"));
    REQUIRE(kept);
    CHECK(kept->of("n1").size() == Enrolments::pods_of_node_max);
}

TEST_CASE("why a pod is not enrolled is a sentence, also after a restart") {
    const Scratch scratch;
    const xds::PodReport why{"u", "shop", "a", false, "no ztunnel is connected", false};
    {
        Rig rig(scratch);
        rig.manifests({node("n1"), pod("a", "n1")});
        CHECK(rig.report("n1", {why}));
    }
    auto kept = Enrolments::open(scratch.path("enrolled"));
    REQUIRE(kept);
    CHECK(kept->of("n1").at("u").reason == why.reason);
}

TEST_CASE("a policy that is not enforced as written is an error in status, not a remark") {
    const Scratch scratch;
    Rig rig(scratch);
    kube::AuthorizationPolicy custom;
    custom.metadata.name = "ask";
    custom.metadata.name_space = "shop";
    custom.action = kube::PolicyAction::custom;
    custom.rules.emplace_back();
    rig.manifests({node("n1"), custom});
    CHECK(rig.published->size(xds::Type::authorization) == 1);
    REQUIRE(rig.board.get()->problems.size() == 1);
    CHECK(rig.board.get()->problems[0].object == "AuthorizationPolicy shop/ask");
    CHECK(rig.board.get()->warnings.empty());
    rig.manifests({node("n1")});
    CHECK(rig.board.get()->problems.empty());
    CHECK(rig.published->size(xds::Type::authorization) == 0);
}

TEST_CASE("a burst is one snapshot, and no change is none") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.engine->manifests(snapshot({node("n1")}));
    rig.engine->manifests(snapshot({node("n1"), pod("a", "n1")}));
    bool applied = false;
    rig.engine->report({"n1", "test"}, {"n1", true, 1, {says("a", true)}},
                       [&](Result<Done> done) { applied = done.has_value(); });
    CHECK(rig.publications == 0);
    rig.executor.run();
    CHECK(rig.publications == 1);
    CHECK(applied);
    CHECK(rig.workloads().at("shop/a"));
    rig.manifests({node("n1"), pod("a", "n1")});
    CHECK(rig.publications == 1);
}

TEST_CASE("nothing is said before the manifests could be read once, and an empty mesh is said aloud") {
    const Scratch scratch;
    Rig rig(scratch);
    auto unread = std::make_shared<kube::Snapshot>();
    unread->problems.push_back({kube::Problem::Severity::error, "/m", 0, {}, {}, "cannot be read", {}});
    rig.engine->manifests(unread);
    rig.executor.run();
    bool applied = false;
    rig.engine->report({"n1", "test"}, {"n1", true, 1, {}},
                       [&](Result<Done> done) { applied = done.has_value(); });
    rig.executor.run();
    CHECK(rig.publications == 0);
    CHECK_FALSE(applied);
    REQUIRE(rig.board.get());
    CHECK_FALSE(rig.board.get()->ready);
    CHECK(rig.board.get()->problems.size() == 1);
    rig.manifests({});
    CHECK(rig.publications == 1);
    CHECK(applied);
    CHECK(rig.board.get()->ready);
}

TEST_CASE("each Node gets a token of its own and the root, for nobody else to read, renewed at half life") {
    const Scratch scratch;
    Rig rig(scratch);
    rig.manifests({node("n1"), node("n2")});
    for (const std::string name : {"n1", "n2"}) {
        const std::string own = scratch.path("nodes/" + name);
        CHECK(mode(own) == 0700);
        CHECK(mode(own + "/token") == 0600);
        CHECK(mode(own + "/root-cert.pem") == 0600);
        CHECK(read(own + "/root-cert.pem") == "the root\n");
        CHECK(rig.tokens.verify(read(own + "/token"), rig.executor.clock().wall()).value() == name);
    }
    const std::string first = read(scratch.path("nodes/n1/token"));
    rig.executor.advance(std::chrono::hours(5));
    CHECK(read(scratch.path("nodes/n1/token")) == first);
    rig.executor.advance(std::chrono::hours(2));
    const std::string second = read(scratch.path("nodes/n1/token"));
    CHECK(second != first);
    rig.executor.advance(std::chrono::hours(6));
    CHECK_FALSE(rig.tokens.verify(first, rig.executor.clock().wall()));
    CHECK(rig.tokens.verify(second, rig.executor.clock().wall()));

    rig.manifests({node("n1")});
    CHECK(::access(scratch.path("nodes/n2").c_str(), F_OK) != 0);
}
