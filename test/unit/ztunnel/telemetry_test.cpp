// What a connection leaves behind: one access line, and numbers.
#include "test/support/captured_log.h"
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>
#include <regex>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;

namespace {

std::vector<std::string> about(const std::vector<std::string>& lines, const std::string& what) {
    std::vector<std::string> found;
    for (const std::string& line : lines) {
        if (line.find(what) != std::string::npos) found.push_back(line);
    }
    return found;
}

// The names of a plain line's fields, in their order.
std::vector<std::string> names(const std::string& line) {
    std::vector<std::string> found;
    std::string fields = line.substr(line.rfind('\t') + 1);
    std::regex name(R"(([a-z_.]+)=("[^"]*"|\S+))");
    for (std::sregex_iterator at(fields.begin(), fields.end(), name), end; at != end; ++at) {
        found.push_back((*at)[1]);
    }
    return found;
}

std::vector<std::string> run_one(SimPair& pair, const std::string& filter, std::size_t size = 1000) {
    CapturedLog log(filter);
    Visit one;
    one.sent = payload(1, size);
    pair.start(one);
    check(pair.run());
    pair.pass(1s);
    return log.lines();
}

}  // namespace

TEST_CASE("a connection is one line at each side, with its fields in order [L-1] [L-2] [L-3]") {
    SimPair pair({.seed = 1}, Temper::echo);
    auto lines = about(run_one(pair, "info"), "connection complete");
    REQUIRE(lines.size() == 2);
    auto out = about(lines, "direction=\"outbound\"");
    REQUIRE(out.size() == 1);
    CHECK(names(out[0]) == std::vector<std::string>{
                               "src.addr", "src.workload", "src.namespace", "src.identity", "src.cluster",
                               "dst.addr", "dst.hbone_addr", "dst.workload", "dst.namespace", "dst.identity",
                               "dst.cluster", "direction", "bytes_sent", "bytes_recv", "duration"});
    CHECK(std::regex_search(out[0], std::regex("\tinfo\taccess\tconnection complete\t")));
    CHECK(out[0].find("src.identity=\"spiffe://cluster.local/ns/test/sa/client\"") != std::string::npos);
    CHECK(out[0].find("dst.addr=10.2.0.1:15008 dst.hbone_addr=10.2.0.1:8080") != std::string::npos);
    CHECK(out[0].find("bytes_sent=1000 bytes_recv=1000") != std::string::npos);
    auto in = about(lines, "direction=\"inbound\"");
    REQUIRE(in.size() == 1);
    CHECK(in[0].find("dst.addr=10.2.0.1:15008 dst.hbone_addr=10.2.0.1:8080") != std::string::npos);
    CHECK(in[0].find("src.identity=\"spiffe://cluster.local/ns/test/sa/client\"") != std::string::npos);
}

TEST_CASE("at debug the beginning is a line, too [L-1]") {
    SimPair pair({.seed = 1}, Temper::echo);
    auto lines = about(run_one(pair, "info,access=debug"), "connection opened");
    REQUIRE(lines.size() == 2);
    for (const std::string& line : lines) CHECK(names(line).back() == "direction");
}

TEST_CASE("a refused connection is an error with its reason as the last field [L-1] [L-2]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.deny("client");
    auto lines = about(run_one(pair, "info"), "connection complete");
    REQUIRE(lines.size() == 2);
    for (const std::string& line : lines) {
        CHECK(line.find("\terror\taccess\t") != std::string::npos);
        CHECK(names(line).back() == "reason");
    }
    auto out = about(lines, "direction=\"outbound\"");
    REQUIRE(out.size() == 1);
    CHECK(out[0].find("error=\"http status: 401\" reason=\"connect_rejected\"") != std::string::npos);
    auto in = about(lines, "direction=\"inbound\"");
    REQUIRE(in.size() == 1);
    CHECK(in[0].find("reason=\"policy_denied\"") != std::string::npos);
    CHECK(in[0].find("test/no-client") != std::string::npos);
}

TEST_CASE("an early failure is a warning and no metric [L-1] [M-8]") {
    SimPair pair({.seed = 1}, Temper::echo);
    mesh::Delta delta;
    delta.removed_addresses = {"cluster//Pod/test/server"};
    pair.world.publish(delta);
    auto lines = about(run_one(pair, "info"), "connection failed");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("\twarn\taccess\t") != std::string::npos);
    CHECK(names(lines[0]) ==
          std::vector<std::string>{"src.addr", "dst.addr", "direction", "error", "reason"});
    std::string metrics = pair.world.node(0).metrics.render();
    CHECK(metrics.find("istio_tcp_connections_opened") == std::string::npos);
    CHECK(metrics.find("culvert_connections_refused_total{direction=\"outbound\","
                       "reason=\"downgrade_refused\"} 1") != std::string::npos);
    CHECK(ztunnel::refusals_of(pair.world.node(0).metrics) ==
          std::map<std::string, std::uint64_t>{{"downgrade_refused", 1}});
}

TEST_CASE("under a flood of refusals access lines are sampled, and what was left out is counted [S21]") {
    ztunnel::LineBudget budget;
    Instant now{1h};
    for (int i = 0; i < 1000; ++i) REQUIRE(budget.take(now));
    CHECK_FALSE(budget.take(now));
    CHECK_FALSE(budget.take(now));
    CHECK(budget.refused() == 2);
    CHECK(budget.refused() == 0);
    now = now + 10ms;
    for (int i = 0; i < 20; ++i) CHECK(budget.take(now));
    CHECK_FALSE(budget.take(now));
}

namespace {

std::string line_of(const std::string& metrics, const std::string& name) {
    std::size_t at = metrics.find("\n" + name + "{");
    return at == std::string::npos ? "" : metrics.substr(at + 1, metrics.find('\n', at + 1) - at - 1);
}

}  // namespace

TEST_CASE("both sides count a connection with the labels of Istio, in order [M-2] [M-3] [M-5]") {
    SimPair pair({.seed = 1}, Temper::echo);
    (void)run_one(pair, "error");
    for (std::size_t node : {0u, 1u}) {
        std::string metrics = pair.world.node(node).metrics.render();
        std::string opened = line_of(metrics, "istio_tcp_connections_opened_total");
        std::string reporter = node == 0 ? "source" : "destination";
        CHECK(opened ==
              "istio_tcp_connections_opened_total{reporter=\"" + reporter +
                  "\",source_workload=\"client\",source_canonical_service=\"client\","
                  "source_canonical_revision=\"unknown\",source_workload_namespace=\"test\","
                  "source_principal=\"spiffe://cluster.local/ns/test/sa/client\",source_app=\"client\","
                  "source_version=\"unknown\",source_cluster=\"Kubernetes\",destination_service=\"unknown\","
                  "destination_service_namespace=\"unknown\",destination_service_name=\"unknown\","
                  "destination_workload=\"server\",destination_canonical_service=\"server\","
                  "destination_canonical_revision=\"unknown\",destination_workload_namespace=\"test\","
                  "destination_principal=\"spiffe://cluster.local/ns/test/sa/server\","
                  "destination_app=\"server\",destination_version=\"unknown\","
                  "destination_cluster=\"Kubernetes\",request_protocol=\"tcp\",response_flags=\"-\","
                  "connection_security_policy=\"mutual_tls\",source_region=\"unknown\","
                  "source_zone=\"unknown\",destination_region=\"unknown\",destination_zone=\"unknown\"} 1");
        CHECK(line_of(metrics, "istio_tcp_connections_closed_total").ends_with("} 1"));
        CHECK(line_of(metrics, "istio_tcp_connections_failed_total").empty());
    }
}

TEST_CASE("received is what the client sent, for both reporters, and counted while it flows [M-4]") {
    SimPair pair({.seed = 1}, Temper::first);
    Visit one;
    io::Scope scope(pair.world.apps());
    one.sent = payload(1, 700);
    check(scope.start(visit_quietly(pair.world.apps(), pair.client->where, server_at, 1h, one)));
    pair.pass(5s);
    for (std::size_t node : {0u, 1u}) {
        std::string metrics = pair.world.node(node).metrics.render();
        CHECK(line_of(metrics, "istio_tcp_received_bytes_total").ends_with("} 0"));
        CHECK(line_of(metrics, "istio_tcp_sent_bytes_total").ends_with("} 27"));
        CHECK(line_of(metrics, "istio_tcp_connections_closed_total").empty() ==
              false);  // the series of clean ends exists from the start
    }
    scope.cancel();
    pair.pass(1s);
    (void)run_one(pair, "error", 900);
    for (std::size_t node : {0u, 1u}) {
        CHECK(line_of(pair.world.node(node).metrics.render(), "istio_tcp_received_bytes_total")
                  .ends_with("} 900"));
    }
}

TEST_CASE("a failed connection is counted with its flag [M-3]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.deny("client");
    (void)run_one(pair, "error");
    std::string failed = line_of(pair.world.node(1).metrics.render(), "istio_tcp_connections_failed_total");
    CHECK(failed.find("response_flags=\"DENY\"") != std::string::npos);
    CHECK(failed.ends_with("} 1"));
}

TEST_CASE("open sockets are a gauge of their own [M-1]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one;
    one.sent = payload(1, 500'000);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    CHECK(pair.world.node(0).shard.telemetry().sockets_open(ztunnel::Direction::outbound).value() == 1);
    CHECK(pair.world.node(1).shard.telemetry().sockets_open(ztunnel::Direction::inbound).value() == 1);
    REQUIRE(pair.run());
    pair.pass(1s);
    CHECK(pair.world.node(0).shard.telemetry().sockets_open(ztunnel::Direction::outbound).value() == 0);
    CHECK(pair.world.node(1).shard.telemetry().sockets_open(ztunnel::Direction::inbound).value() == 0);
}

TEST_CASE("live connections can be listed [A-5] [R-13]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one;
    one.sent = payload(1, 500'000);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    auto out = pair.world.node(0).shard.connections().list();
    REQUIRE(out.size() == 1);
    CHECK(out[0].pod_uid == "client");
    CHECK(out[0].original_destination == server_at);
    CHECK(out[0].next_hop == server_hbone);
    CHECK(word(out[0].protocol) == "HBONE");
    auto in = pair.world.node(1).shard.connections().list();
    REQUIRE(in.size() == 1);
    CHECK(in[0].source.ip == client_ip);
    CHECK(in[0].next_hop == server_at);
    REQUIRE(pair.run());
}

TEST_CASE("what peers say of themselves makes so many series and no more, each of bounded size [M-2, S21]") {
    Registry registry;
    ztunnel::Telemetry telemetry(registry);
    auto say = [&](const std::string& name) {
        (void)telemetry.flow({.direction = ztunnel::Direction::inbound, .baggage = "service.name=" + name});
    };
    for (std::size_t i = 0; i < 2 * ztunnel::Telemetry::baggages_max; ++i) say("app" + std::to_string(i));
    say(std::string(60'000, 'x'));
    const std::string metrics = registry.render();
    CHECK(metrics.find("source_app=\"app0\"") != std::string::npos);
    CHECK(metrics.find("source_app=\"app511\"") != std::string::npos);
    CHECK(metrics.find("source_app=\"app512\"") == std::string::npos);
    CHECK(metrics.find("xxxx") == std::string::npos);
    CHECK(telemetry.flows() == ztunnel::Telemetry::baggages_max + 1);
}
