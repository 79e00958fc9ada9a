// The certificate cache in virtual time, against a CA that answers when the test says so.
#include "lib/io/sim.h"
#include "lib/tls/authority.h"
#include "lib/xds/loop_executor.h"
#include "test/support/run.h"
#include "test/support/scratch.h"
#include "ztunnel/certs.h"

#include <catch2/catch.hpp>

#include <deque>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using ztunnel::Certs;

namespace {

mesh::Identity id(const std::string& account) { return {"cluster.local", "shop", account}; }

struct TestCa final : xds::CaTransport {
    explicit TestCa(const Clock& clock) : clock(clock) {}
    static tls::Authority open(const Scratch& scratch, const std::string& name, WallTime now) {
        std::filesystem::create_directory(scratch.path(name));
        std::filesystem::permissions(scratch.path(name), std::filesystem::perms::owner_all);
        return tls::Authority::open(scratch.path(name), "cluster.local", now).value();
    }
    void sign(xds::SignRequest request, xds::SignAnswer answer) override {
        asked.push_back(request.impersonate);
        times.push_back(clock.now());
        held.push_back({std::move(request), std::move(answer)});
        if (automatic) answer_all();
    }
    void answer_one() {
        auto [request, answer] = std::move(held.front());
        held.pop_front();
        if (failing) return answer(refuse(Reason::ca_rejected, "not today"));
        auto csr = tls::Csr::parse(request.csr).value();
        auto made = (second_root ? two : one).sign(csr, ttl, clock.wall() - age).value();
        answer(std::move(made.chain));
    }
    void answer_all() {
        while (!held.empty()) answer_one();
    }

    const Clock& clock;
    Scratch scratch;
    tls::Authority one = open(scratch, "one", clock.wall());
    tls::Authority two = open(scratch, "two", clock.wall());
    std::chrono::seconds ttl = 24h;
    Duration age{};
    bool automatic = false, failing = false, second_root = false;
    std::deque<std::pair<xds::SignRequest, xds::SignAnswer>> held;
    std::vector<std::string> asked;
    std::vector<Instant> times;
};

using Got = Result<std::shared_ptr<const tls::Credential>>;

struct World {
    explicit World(Certs::Options options = {}) : certs(executor, ca, options, metrics) {
        certs.add_loop(credentials);
        certs.on_roots_changed([this](const mesh::Identity& of) { roots_changed.push_back(of.to_string()); });
    }
    ~World() {
        scope.cancel();
        pass(0s);
    }
    void pass(Duration time) {
        io::Loop* loops[] = {&loop};
        network.run(loops, time, {});
    }
    std::shared_ptr<std::optional<Got>> ask(const std::string& account) {
        auto got = std::make_shared<std::optional<Got>>();
        asks.push_back(got);
        check(scope.start(keep(*got, credentials->get(id(account)))));
        pass(1ms);
        return got;
    }
    std::shared_ptr<const tls::Credential> now(const std::string& account) {
        auto got = ask(account);
        REQUIRE(*got);
        REQUIRE(**got);
        return ***got;
    }

    io::SimNetwork network{{.seed = 7, .delay_permille = 0}};
    io::Loop loop{network.driver(io::SimNetwork::Who::mesh)};
    io::Scope scope{loop};
    xds::LoopExecutor executor{loop};
    TestCa ca{loop.clock()};
    Registry metrics;
    Certs certs;
    std::shared_ptr<ztunnel::LoopCredentials> credentials =
        std::make_shared<ztunnel::LoopCredentials>(loop, certs);
    std::vector<std::shared_ptr<std::optional<Got>>> asks;
    std::vector<std::string> roots_changed;
};

// What /config_dump says of this identity.
std::string state(const World& world, const std::string& account) {
    for (const auto& line : world.certs.list())
        if (line.identity == id(account).to_string()) return line.state;
    return "unknown";
}

}  // namespace

TEST_CASE("waiters of one identity share one request and get the same certificate [CA-7][CA-8]", "[certs]") {
    World world;
    auto first = world.ask("web"), second = world.ask("web");
    REQUIRE_FALSE(*first);
    REQUIRE(world.ca.asked == std::vector<std::string>{"spiffe://cluster.local/ns/shop/sa/web"});
    REQUIRE(state(world, "web") == "Initializing");
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE((**first).value() == (**second).value());
    REQUIRE((**first).value()->identity() == id("web"));
    REQUIRE(world.now("web") == (**first).value());
    REQUIRE(world.ca.asked.size() == 1);
    REQUIRE(state(world, "web") == "Available");
}

TEST_CASE("in dedicated mode nobody is impersonated [CA-2]", "[certs]") {
    World world({.impersonate = false});
    world.ask("web");
    REQUIRE(world.ca.asked == std::vector<std::string>{""});
}

TEST_CASE("every request has a fresh key [CA-3]", "[certs]") {
    World world;
    world.ask("a");
    world.ask("b");
    REQUIRE(world.ca.held[0].first.csr != world.ca.held[1].first.csr);
    REQUIRE(world.ca.held[0].first.ttl == 24h);
}

TEST_CASE("at most eight requests are on their way, and who waits goes first [CA-7]", "[certs]") {
    World world;
    for (int i = 0; i < 20; ++i) world.certs.want(id("warm-" + std::to_string(i)));
    world.pass(1ms);
    REQUIRE(world.ca.asked.size() == Certs::requests_max);
    world.ask("urgent");
    world.ask("warm-19");  // bumped
    REQUIRE(world.ca.asked.size() == Certs::requests_max);
    world.ca.answer_one();
    world.pass(1ms);
    REQUIRE(world.ca.asked.back() == id("urgent").to_string());
    world.ca.answer_one();
    world.pass(1ms);
    REQUIRE(world.ca.asked.back() == id("warm-19").to_string());
    world.ca.answer_one();
    world.pass(1ms);
    REQUIRE(world.ca.asked.back() == id("warm-8").to_string());
    world.ca.automatic = true;
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE(world.ca.asked.size() == 21);
}

TEST_CASE(
    "a certificate is refreshed at half its life, and the old one stays until the new one is there [CA-9]",
    "[certs]") {
    World world;
    world.ask("web");
    world.ca.answer_all();
    auto first = world.now("web");
    Duration half = first->refresh_at() - world.loop.clock().wall();
    REQUIRE(half > 11h);
    REQUIRE(half < 12h);
    world.pass(half - 1s);
    REQUIRE(world.ca.asked.size() == 1);
    world.pass(2s);
    REQUIRE(world.ca.asked.size() == 2);
    REQUIRE(world.now("web") == first);
    world.ca.answer_all();
    auto second = world.now("web");
    REQUIRE(second != first);
    REQUIRE(world.roots_changed.empty());
    world.ca.automatic = true;
    world.pass(48h);
    REQUIRE(world.ca.asked.size() == 6);
}

TEST_CASE("a certificate that is old at birth is not asked for in a loop [CA-9]", "[certs]") {
    World world;
    world.ca.automatic = true;
    world.ca.age = 13h;
    world.executor.after(20h, [] {});  // time passes only to reach something
    world.pass(20h);                   // the root must be older than its leaves
    world.ask("web");
    world.pass(10min);
    REQUIRE(world.ca.asked.size() > 5);
    REQUIRE(world.ca.asked.size() < 20);
}

TEST_CASE("the first failure goes to all waiters at once, later callers get it until a retry succeeds [CA-8]",
          "[certs]") {
    World world;
    world.ca.failing = true;
    auto first = world.ask("web"), second = world.ask("web");
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE((**first).error().reason == Reason::no_certificate);
    REQUIRE((**second).error() == (**first).error());
    REQUIRE((**first).error().text.find("not today") != std::string::npos);
    auto later = world.ask("web");
    REQUIRE((**later).error() == (**first).error());
    REQUIRE(world.ca.asked.size() == 1);
    REQUIRE(state(world, "web").starts_with("Unavailable: "));
    world.ca.failing = false;
    world.ca.automatic = true;
    world.certs.want(id("web"));
    world.pass(2s);
    REQUIRE(world.ca.asked.size() == 2);
    REQUIRE(world.now("web")->identity() == id("web"));
}

TEST_CASE("retries double from one second to 150 s, +-20 %, and start over after a success [CA-10]",
          "[certs]") {
    World world;
    world.certs.want(id("web"));
    world.ca.failing = world.ca.automatic = true;
    world.pass(30min);
    Duration base = 1s;
    REQUIRE(world.ca.times.size() > 12);
    for (std::size_t i = 1; i < world.ca.times.size(); ++i) {
        Duration wait = world.ca.times[i] - world.ca.times[i - 1];
        CHECK(wait >= base * 4 / 5 - 1ms);
        CHECK(wait <= std::min<Duration>(base * 6 / 5, 150s) + 1ms);
        base = std::min<Duration>(base * 2, 150s);
    }
    world.ca.failing = false;
    world.pass(3min);
    REQUIRE(state(world, "web") == "Available");
    std::size_t before = world.ca.times.size();
    world.ca.failing = true;
    world.pass(12h + 20s);
    REQUIRE(world.ca.times.size() >= before + 3);
}

TEST_CASE("while the CA fails the old certificate serves until it expires, then nothing does [CA-10]",
          "[certs]") {
    World world;
    world.certs.want(id("web"));
    world.ca.ttl = 10min;
    world.ca.automatic = true;
    world.pass(1s);
    auto first = world.now("web");
    world.ca.failing = true;
    Duration left = first->not_after() - world.loop.clock().wall();
    world.pass(left - 10s);
    REQUIRE(world.now("web") == first);
    world.pass(10s);
    auto gone = world.ask("web");
    REQUIRE(*gone);
    REQUIRE((**gone).error().reason == Reason::no_certificate);
    // The attempt at its expiry was the last that the old one covered.
    REQUIRE(world.ca.times.back() - Instant{} >= left - 1s);
}

TEST_CASE("an identity that left the node is forgotten, and who waits for it is told [CA-11]", "[certs]") {
    World world;
    world.certs.want(id("web"));
    auto waiting = world.ask("web");
    world.certs.forget(id("web"));
    world.pass(1ms);
    REQUIRE((**waiting).error().text == "no longer needed");
    REQUIRE(world.certs.list().empty());
    world.ca.answer_all();  // comes too late for it
    world.pass(1ms);
    REQUIRE(state(world, "web") == "unknown");
    auto again = world.ask("web");
    REQUIRE_FALSE(*again);
    REQUIRE(world.ca.asked.size() == 2);
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE((**again).has_value());
}

TEST_CASE("an identity that only a passing connection wanted goes with its last certificate", "[certs]") {
    World world;
    world.ca.automatic = true;
    world.ca.ttl = 10min;
    world.now("passing");
    world.ca.failing = true;
    world.pass(1h);
    REQUIRE(world.certs.list().empty());
    std::size_t asked = world.ca.asked.size();
    world.pass(24h);
    REQUIRE(world.ca.asked.size() == asked);
}

TEST_CASE("other roots are told after the news of the certificate [S16][CA-13]", "[certs]") {
    World world;
    world.ca.automatic = true;
    world.certs.want(id("web"));
    world.pass(1s);
    world.ca.second_root = true;
    world.pass(12h + 1min);
    REQUIRE(world.roots_changed == std::vector{id("web").to_string()});
}

TEST_CASE("a certificate for somebody else is no certificate [CA-5]", "[certs]") {
    World world;
    auto got = world.ask("web");
    auto other = tls::make_csr(tls::PrivateKey::generate().value(), id("web")).value();
    world.ca.held.front().first.csr = other;  // another key under the right name
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE((**got).error().reason == Reason::no_certificate);
}

TEST_CASE("a waiter that is cancelled leaves, the others are served", "[certs]") {
    World world;
    io::Scope impatient(world.loop);
    std::optional<Got> cancelled;
    check(impatient.start(keep(cancelled, world.credentials->get(id("web")))));
    auto patient = world.ask("web");
    impatient.cancel();
    world.pass(1ms);
    REQUIRE(cancelled->error().reason == Reason::cancelled);
    world.ca.answer_all();
    world.pass(1ms);
    REQUIRE((**patient).has_value());
}

TEST_CASE("a loop that comes later knows what is there", "[certs]") {
    World world;
    world.ca.automatic = true;
    auto first = world.now("web");
    auto late = std::make_shared<ztunnel::LoopCredentials>(world.loop, world.certs);
    world.certs.add_loop(late);
    world.pass(1ms);
    std::optional<Got> got;
    check(world.scope.start(keep(got, late->get(id("web")))));
    world.pass(1ms);
    REQUIRE(got->value() == first);
    REQUIRE(world.ca.asked.size() == 1);
}

TEST_CASE("identities are bounded: an idle one makes room, needed ones do not", "[certs]") {
    World world;
    world.ca.ttl = 1h;
    for (std::size_t i = 0; i + 1 < Certs::identities_max; ++i) world.certs.want(id("w" + std::to_string(i)));
    world.certs.urgent(id("idle"));
    world.pass(1ms);
    REQUIRE(world.certs.list().size() == Certs::identities_max);
    world.certs.want(id("one-more"));
    world.pass(1ms);
    REQUIRE(state(world, "idle") == "unknown");
    REQUIRE(state(world, "one-more") == "Initializing");
    auto refused = world.ask("too-many");
    REQUIRE(*refused);
    REQUIRE((**refused).error().reason == Reason::no_certificate);
    REQUIRE(world.certs.list().size() == Certs::identities_max);
    world.certs.forget(id("w0"));  // the refusal was of that moment
    auto waiting = world.ask("too-many");
    REQUIRE_FALSE(*waiting);
    REQUIRE(state(world, "too-many") == "Initializing");
}
