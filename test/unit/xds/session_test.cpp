// Client and server machines against each other over the memory transport: random changes, losses and
// reconnects.
#include "lib/xds/backoff.h"
#include "lib/xds/memory.h"
#include "lib/xds/node.h"
#include "lib/xds/report_session.h"
#include "lib/xds/session.h"
#include "test/support/manual_executor.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

#include <map>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using xds::Type;

namespace {

struct Anyone final : xds::Authenticator {
    Result<xds::Caller> authenticate(xds::Presented presented) override {
        if (!presented.bearer.starts_with("node:")) return refuse(Reason::token_rejected);
        return xds::Caller{std::string(presented.bearer.substr(5)), {}};
    }
    Result<Done> still(const xds::Caller&) override { return Done{}; }
};

// Keeps what it was told as name -> body, the way a directory would.
struct Mirror final : xds::DeltaSession::Listener {
    void delta(mesh::Delta delta) override {
        for (const auto& each : delta.addresses) {
            std::string name = std::visit([](const auto& value) { return xds::name_of(value); }, each);
            std::string body = std::visit([](const auto& value) { return xds::body_of(value); }, each);
            if (has[name] == body) ++repeated;
            has[name] = body;
        }
        for (const auto& each : delta.policies) {
            std::string body = xds::body_of(each.value);
            if (has[each.key] == body) ++repeated;
            has[each.key] = body;
        }
        for (const auto& name : delta.removed_addresses) has.erase(name);
        for (const auto& name : delta.removed_policies) has.erase(name);
    }
    void ready() override { ++became_ready; }
    void connected(bool is) override { up = is; }

    std::map<std::string, std::string> has;
    std::size_t repeated = 0;
    std::size_t became_ready = 0;
    bool up = false;
};

struct World {
    explicit World(std::uint64_t seed = 1) : executor(seed) {}
    // A random change of what is published; `truth` follows.
    void change() {
        int number = static_cast<int>(random().below(12));
        int revision = static_cast<int>(random().below(4));
        switch (random().below(5)) {
        case 0:
            set(xds::encode(small_service(number, revision)), xds::body_of(small_service(number, revision)));
            break;
        case 1:
            set(xds::encode(small_policy(number, revision)), xds::body_of(small_policy(number, revision)));
            break;
        case 2: remove(Type::address, xds::name_of(small_workload(number))); break;
        case 3: remove(Type::authorization, xds::name_of(small_policy(number))); break;
        default:
            set(xds::encode(small_workload(number, revision)),
                xds::body_of(small_workload(number, revision)));
        }
        if (random().below(2) == 0) server.publish(publisher.publish());
    }
    void set(xds::ResourcePtr resource, std::string body) {
        truth[resource->name] = std::move(body);
        publisher.set(std::move(resource));
    }
    void remove(Type type, const std::string& name) {
        truth.erase(name);
        publisher.remove(type, name);
    }
    void publish() { server.publish(publisher.publish()); }
    Random& random() { return executor.random(); }

    ManualExecutor executor;
    Anyone anyone;
    xds::MemoryServer server{executor, {&anyone, nullptr, nullptr}};
    xds::Publisher publisher;
    std::map<std::string, std::string> truth;
    std::unique_ptr<xds::DeltaTransport> transport = server.delta_transport("node:n1");
    Registry metrics;
    Mirror mirror;
    xds::DeltaSession session{executor, *transport, {"ztunnel~1", "", {}}, mirror, metrics};
};

}  // namespace

TEST_CASE("client and server always converge, and nothing is sent that the client has [X-8][X-16][X-17]",
          "[xds]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        World world(seed);
        world.server.set_delay(50ms);
        world.session.start();
        for (int step = 0; step < 150; ++step) {
            auto dice = world.random().below(40);
            if (dice == 0) world.server.disconnect();
            if (dice == 1) world.server.set_up(false);
            if (dice == 2) world.server.set_up(true);
            world.change();
            world.executor.advance(Duration(static_cast<std::int64_t>(world.random().below(60'000'000))));
        }
        world.server.set_up(true);
        world.publish();
        world.executor.advance(60s);
        REQUIRE(world.mirror.has == world.truth);
        REQUIRE(world.mirror.became_ready == 1);
        REQUIRE(world.mirror.up);
        // Equal content never travels twice, whatever broke in between.
        REQUIRE(world.mirror.repeated == 0);
        world.session.stop();
        world.executor.advance(1s);
    }
}

TEST_CASE(
    "what is held stays in force while the controller is away, and a reconnect brings only the difference",
    "[xds]") {
    World world;
    for (int i = 0; i < 5; ++i) world.set(xds::encode(small_workload(i)), xds::body_of(small_workload(i)));
    world.publish();
    world.session.start();
    world.executor.advance(1s);
    REQUIRE(world.mirror.has.size() == 5);
    Counter& bytes =
        world.metrics.counter("istio_xds_message_bytes", "", {{"url", std::string(xds::url(Type::address))}});
    world.server.set_up(false);
    world.executor.advance(30s);
    REQUIRE(world.mirror.has.size() == 5);
    REQUIRE_FALSE(world.mirror.up);
    world.remove(Type::address, xds::name_of(small_workload(2)));
    world.publish();
    std::uint64_t before = bytes.value();
    world.server.set_up(true);
    world.executor.advance(20s);
    REQUIRE(world.mirror.has == world.truth);
    REQUIRE(bytes.value() - before < 150);
    world.session.stop();
    world.executor.advance(1s);
}

TEST_CASE("messages and ends of streams are counted [M-1]", "[xds]") {
    World world;
    world.publish();
    world.session.start();
    world.executor.advance(1s);
    world.server.disconnect();
    world.executor.advance(1s);
    world.server.set_up(false);
    world.executor.advance(100ms);
    std::string text = world.metrics.render();
    INFO(text);
    REQUIRE(text.find("istio_xds_message_total{url=\"type.googleapis.com/istio.workload.Address\"} 2\n") !=
            text.npos);
    REQUIRE(text.find("istio_xds_connection_terminations_total{reason=\"Reconnect\"} 2\n") != text.npos);
    REQUIRE(text.find("istio_xds_connection_terminations_total{reason=\"ConnectionError\"}") != text.npos);
    world.session.stop();
    world.executor.advance(20s);
}

TEST_CASE("a wrong token ends the stream and is tried again later, ever more seldom", "[xds]") {
    World world;
    auto transport = world.server.delta_transport("nobody");
    xds::DeltaSession session{world.executor, *transport, {"z", "", {}}, world.mirror, world.metrics};
    session.start();
    world.executor.advance(10min);
    REQUIRE(world.mirror.became_ready == 0);
    auto ends = world.metrics.counter("istio_xds_connection_terminations", "", {{"reason", "Error"}}).value();
    REQUIRE(ends > 30);
    REQUIRE(ends < 70);
    session.stop();
    world.executor.advance(1min);
}

TEST_CASE("a session that was stopped stays silent", "[xds]") {
    World world;
    world.session.start();
    world.executor.advance(1s);
    world.session.stop();
    world.executor.advance(1s);
    world.set(xds::encode(small_workload(1)), "");
    world.publish();
    world.executor.advance(1min);
    REQUIRE(world.mirror.has.empty());
    REQUIRE(world.server.streams() == 0);
}

TEST_CASE("waits double from 10 ms to 15 s, with jitter [X-13]", "[xds]") {
    SeededRandom random(7);
    xds::Reconnect reconnect;
    auto failed = xds::stream_end(false, 14, "");
    Duration base = 10ms;
    for (int i = 0; i < 20; ++i) {
        Duration wait = reconnect.after(failed, 0s, random);
        REQUIRE(wait >= base * 4 / 5);
        REQUIRE(wait <= std::min<Duration>(base * 6 / 5, 15s));
        base = std::min<Duration>(base * 2, 15s);
    }
}

TEST_CASE("a stream that worked starts the waits over, one that never did does not [X-13]", "[xds]") {
    SeededRandom random(7);
    auto goaway = xds::stream_end(true, 14, "received prior goaway");
    auto broken = xds::stream_end(true, 3, "invalid argument");
    auto clean = xds::stream_end(true, 0, "");
    auto worn = [&] {
        xds::Reconnect reconnect;
        for (int i = 0; i < 12; ++i) reconnect.after(broken, 0s, random);
        return reconnect;
    };
    REQUIRE(worn().after(goaway, 2s, random) <= 12ms);
    REQUIRE(worn().after(clean, 2s, random) <= 12ms);
    REQUIRE(worn().after(broken, 20s, random) <= 12ms);
    REQUIRE(worn().after(broken, 2s, random) >= 12s);
    REQUIRE(worn().after(goaway, 10ms, random) >= 12s);
}

TEST_CASE("how a stream ended is told from its status [X-13][M-1]", "[xds]") {
    using Kind = xds::StreamEnd::Kind;
    REQUIRE(xds::stream_end(false, 14, "").kind == Kind::connect_failed);
    REQUIRE(xds::stream_end(true, 14, "").kind == Kind::going_away);
    REQUIRE(xds::stream_end(true, 1, "").kind == Kind::going_away);
    REQUIRE(xds::stream_end(true, 0, "").kind == Kind::complete);
    REQUIRE(xds::stream_end(true, 16, "").kind == Kind::error);
    REQUIRE(xds::word(Kind::connect_failed) == "ConnectionError");
    REQUIRE(xds::word(Kind::going_away) == "Reconnect");
    REQUIRE(xds::word(Kind::error) == "Error");
    REQUIRE(xds::word(Kind::complete) == "Complete");
}

TEST_CASE("a node says who it is the way Istio's do [X-6]", "[xds]") {
    xds::NodeFacts facts{
        "10.1.2.3",
        "ztunnel-x",
        "istio-system",
        "n1",
        {{"FROM_CONFIG", "a"}},
        {{"ISTIO_META_FOO", "bar"}, {"ISTIO_METAJSON_LABELS", R"({"a":"b"})"}, {"PATH", "/bin"}}};
    xds::Node node = xds::proxy_node(facts).value();
    REQUIRE(node.id == "ztunnel~10.1.2.3~ztunnel-x.istio-system~istio-system.svc.cluster.local");
    REQUIRE(node.metadata.at("NAME").text == "ztunnel-x");
    REQUIRE(node.metadata.at("NAMESPACE").text == "istio-system");
    REQUIRE(node.metadata.at("INSTANCE_IPS").text == "10.1.2.3");
    REQUIRE(node.metadata.at("NODE_NAME").text == "n1");
    REQUIRE(node.metadata.at("FROM_CONFIG").text == "a");
    REQUIRE(node.metadata.at("FOO").text == "bar");
    REQUIRE(node.metadata.at("LABELS").json);
    REQUIRE(node.metadata.size() == 7);
    facts.instance_ip.clear();
    REQUIRE(xds::proxy_node(facts)->id.starts_with("ztunnel~1.1.1.1~"));
    facts.environment = {{"ISTIO_METAJSON_BAD", "{"}};
    REQUIRE(xds::proxy_node(facts).error().reason == Reason::bad_configuration);
}

namespace {

// What a controller makes of reports.
struct Roll final : xds::ReportHandler {
    void report(const xds::Caller& caller, xds::Report report, Applied applied) override {
        auto& of = nodes[caller.node];
        if (report.snapshot) of.clear();
        for (const auto& pod : report.pods) {
            if (pod.gone) of.erase(pod.uid);
            if (!pod.gone) of[pod.uid] = pod;
        }
        ++reports;
        if (mute) {
            owed.push_back(
                std::move(applied));  // held, as by a server that neither answers nor ends the call
        } else if (refuses) {
            applied(refuse(Reason::io, "as told"));
        } else {
            applied(Done{});
        }
    }
    std::map<std::string, std::map<std::string, xds::PodReport>> nodes;
    std::size_t reports = 0;
    bool mute = false;
    bool refuses = false;
    std::vector<Applied> owed;
};

xds::PodReport pod(int number, bool enrolled) {
    std::string name = "pod-" + std::to_string(number);
    return {"uid-" + std::to_string(number), "shop", name, enrolled, enrolled ? "" : "not_labelled", false};
}

}  // namespace

TEST_CASE("the controller's roll always becomes the node's, over losses and restarts", "[xds][report]") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        ManualExecutor executor(seed);
        Anyone anyone;
        Roll roll;
        xds::MemoryServer server(executor, {&anyone, nullptr, &roll});
        server.set_delay(30ms);
        auto transport = server.report_transport("node:n1");
        xds::ReportSession session(executor, *transport, "n1");
        bool told = true;
        session.on_sync([&](bool now) { told = now; });
        REQUIRE_FALSE(told);
        session.start();
        std::map<std::string, xds::PodReport> truth;
        for (int step = 0; step < 100; ++step) {
            int number = static_cast<int>(executor.random().below(8));
            auto dice = executor.random().below(20);
            if (dice == 0) server.disconnect();
            if (dice == 1) server.set_up(false);
            if (dice == 2) server.set_up(true);
            if (dice == 3) roll.nodes.clear(), server.disconnect();  // the controller restarted
            if (executor.random().below(3) == 0) {
                truth.erase("uid-" + std::to_string(number));
                session.remove("uid-" + std::to_string(number));
            } else {
                auto report = pod(number, executor.random().below(2) == 0);
                truth[report.uid] = report;
                session.set(report);
            }
            REQUIRE(told == session.in_sync());
            executor.advance(Duration(static_cast<std::int64_t>(executor.random().below(40'000'000))));
            REQUIRE(told == session.in_sync());
        }
        server.set_up(true);
        executor.advance(1min);
        REQUIRE(told);
        REQUIRE(session.in_sync());
        REQUIRE(roll.nodes["n1"] == truth);
        session.stop();
        executor.advance(1s);
    }
}

namespace {

// One node's reports to a server in memory.
struct Reporting {
    ManualExecutor executor;
    Anyone anyone;
    Roll roll;
    xds::MemoryServer server{executor, {&anyone, nullptr, &roll}};
    std::unique_ptr<xds::ReportTransport> transport = server.report_transport("node:n1");
    xds::ReportSession session{executor, *transport, "n1"};
};

}  // namespace

TEST_CASE("a report that is refused, or never answered, is said again on another stream", "[xds][report]") {
    Reporting node;
    bool& fault = GENERATE(false, true) ? node.roll.mute : node.roll.refuses;
    fault = true;
    node.session.set(pod(1, true));
    node.session.start();
    node.executor.advance(1s);
    REQUIRE(node.roll.reports >= 1);
    REQUIRE_FALSE(node.session.in_sync());
    fault = false;
    node.executor.advance(xds::acknowledgement_deadline + 16s);
    REQUIRE(node.session.in_sync());
    std::size_t said = node.roll.reports;
    node.executor.advance(10min);
    REQUIRE(node.roll.reports == said);  // the deadline of one that was acknowledged ends nothing
    node.session.stop();
    node.executor.advance(1s);
}

TEST_CASE("a report that says nothing new is not sent", "[xds][report]") {
    Reporting node;
    node.session.set(pod(1, true));
    node.session.start();
    node.executor.advance(1s);
    REQUIRE(node.roll.reports == 1);
    node.session.set(pod(1, true));
    node.session.remove("uid-of-nobody");
    node.executor.advance(1s);
    REQUIRE(node.roll.reports == 1);
    node.session.set(pod(1, false));
    node.executor.advance(1s);
    REQUIRE(node.roll.reports == 2);
    node.session.stop();
    node.executor.advance(1s);
}
