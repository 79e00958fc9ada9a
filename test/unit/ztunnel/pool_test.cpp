// Which links a pod dials, who shares them, and how long they live.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using Kind = h2::Event::Kind;
using ztunnel::Direction;

namespace {

std::size_t links(const SimPod& pod) { return const_cast<SimPod&>(pod).view.pool().links(); }

}  // namespace

TEST_CASE("tunnels share a link up to its limit, and a link below it is used again [H-38] [H-39]") {
    ztunnel::Settings settings;
    settings.streams_per_link_max = 3;
    SimPair pair({.seed = 1}, Temper::late, settings);
    auto many = visits_of(7, 100);
    pair.start(many);
    REQUIRE(pair.run());
    for (const Visit& each : many) CHECK(whole(Temper::late, each));
    std::size_t dialled = links(*pair.client);
    CHECK(dialled >= 2);
    CHECK(dialled <= 3);
    auto again = visits_of(3, 100);
    pair.start(again);
    REQUIRE(pair.run());
    CHECK(links(*pair.client) == dialled);
}

TEST_CASE("pods share no link, even towards the same destination [H-38]") {
    SimPair pair({.seed = 1}, Temper::echo);
    mesh::Workload other_says = SimWorld::workload("other", other_ip, "client");  // the same identity
    SimPod& other = pair.world.enrol(0, other_says);
    pair.publish(other_says);
    Visit one, two;
    one.sent = two.sent = payload(1, 1000);
    pair.start(one);
    pair.start(two, other.where, server_at);
    REQUIRE(pair.run());
    CHECK(links(*pair.client) == 1);
    CHECK(links(other) == 1);
}

TEST_CASE("all who wait for one dial share its failure, after one timeout [H-40] [H-42] [O-12] [W-4]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.world.network.black_hole(server_hbone);
    auto visits = visits_of(5, 100);
    Duration before = pair.now();
    pair.start(visits);
    REQUIRE(pair.run());
    CHECK(pair.now() - before >= 10s);
    CHECK(pair.now() - before < 11s);
    CHECK(pair.refusals(0, Direction::outbound, Reason::connect_timed_out) == 5);
    for (const Visit& each : visits) CHECK((each.connected && !each.clean));
    pair.world.network.heal(server_hbone);
    Visit later;
    later.sent = payload(1, 100);
    pair.start(later);
    REQUIRE(pair.run());
    CHECK(whole(Temper::echo, later));
}

TEST_CASE("a link that nobody uses is released after five minutes [H-41]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Visit one;
    one.sent = payload(1, 1000);
    pair.start(one);
    REQUIRE(pair.run());
    pair.pass(4min);
    CHECK(links(*pair.client) == 1);
    pair.pass(2min);
    CHECK(links(*pair.client) == 0);
}

TEST_CASE("a link with a tunnel is kept, however long it is quiet [H-41]") {
    SimPair pair({.seed = 1}, Temper::echo);
    io::Namespace where = pair.client->where;
    io::Scope scope(pair.world.apps());
    Visit quiet;
    check(scope.start(visit_quietly(pair.world.apps(), where, server_at, 30min, quiet)));
    pair.pass(20min);
    CHECK(links(*pair.client) == 1);
    pair.pass(20min);
    CHECK(scope.children() == 0);
    CHECK(quiet.clean);
}

TEST_CASE("links end when a certificate does [S16]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.world.credentials.lifetime = 1h;
    io::Scope scope(pair.world.apps());
    Visit quiet;
    check(scope.start(visit_quietly(pair.world.apps(), pair.client->where, server_at, 3h, quiet)));
    pair.pass(59min);
    CHECK(scope.children() == 1);
    pair.pass(2min);
    CHECK(scope.children() == 0);
    CHECK_FALSE(quiet.clean);
    std::uint64_t expired = pair.refusals(0, Direction::outbound, Reason::certificate_expired) +
                            pair.refusals(1, Direction::inbound, Reason::certificate_expired);
    CHECK(expired >= 1);
}

TEST_CASE("links end when the roots they were made under change [S16]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one, two;
    one.sent = two.sent = payload(1, 500'000);
    std::size_t node = GENERATE(0u, 1u);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    pair.world.node(node).shard.roots_changed(node == 0 ? client_identity : server_identity);
    pair.start(two);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(whole(Temper::late, two));
}

TEST_CASE("an app that does not read does not keep its link's other tunnels waiting") {
    SimPair pair({.seed = 1}, Temper::late);
    Server deaf;
    const Address deaf_at{server_ip, 9000};
    check(pair.servers.start(serve_deaf(pair.servers, pair.server->where, deaf_at, deaf)));
    Visit bulk, small;
    bulk.sent = payload(1, 40'000'000);
    small.sent = payload(2, 1000);
    pair.start(bulk, pair.client->where, deaf_at);
    pair.pass(10s);
    REQUIRE(deaf.accepted == 1);
    pair.start(small);
    REQUIRE(pair.run(1h, [&] { return small.done; }));
    CHECK(whole(Temper::late, small));
    CHECK(pair.close());
}

TEST_CASE("bulk and small requests get links of their own") {
    SimPair pair({.seed = 1, .pipe_bytes = 1 << 20}, Temper::echo);
    Visit bulk, small;
    bulk.sent = payload(1, 20'000'000);
    small.sent = payload(2, 1000);
    pair.start(bulk);
    REQUIRE(pair.run(1h, [&] { return bulk.got.size() > 12'000'000; }));
    pair.start(small);
    REQUIRE(pair.run(1h, [&] { return small.done; }));
    CHECK(links(*pair.client) == 2);
    CHECK(whole(Temper::echo, small));
    CHECK_FALSE(bulk.done);
    CHECK(pair.close());
}

// ---- a peer that misbehaves ----

namespace {

// A pod of the directory without a proxy of ours: its HBONE port is the test's.
struct ByHand {
    ByHand() : pair({.seed = 1}, Temper::echo), where(pair.world.add_plain("foreign", ip)) {
        pair.publish(SimWorld::workload("foreign", ip, "server"));
    }
    PeerParts parts() { return pair.hand(where, server_identity); }

    const Ip ip = *Ip::parse("10.3.0.1");
    SimPair pair;
    io::Namespace where;
};

enum class Deed : std::uint8_t { nothing, refuse, go_away, cancel, no_pong };

// Accepts links until cancelled; does its deed on the first CONNECT of the first, and serves those that
// follow.
io::Task<Result<Done>> misbehave(ByHand& stage, Deed deed, std::size_t& requests) {
    const PeerParts parts = stage.parts();
    CO_TRY(io::Listener listener, io::Listener::open(parts.loop, stage.where, {stage.ip, 15008}, {}));
    std::vector<std::unique_ptr<SimPeer>> peers;
    for (;;) {
        CO_TRY(auto peer, co_await accept_by_hand(parts, listener));
        CO_TRY(SimPeer::Heard heard, co_await peer->hear(Kind::request));
        h2::StreamId stream = heard.event.stream;
        ++requests;
        if (requests > 1)
            peer->engine.respond(stream, {});
        else if (deed == Deed::refuse)
            peer->engine.respond(stream, {503, {}});
        else if (deed == Deed::go_away)
            peer->engine.reset(stream, h2::Code::refused_stream);
        else if (deed == Deed::cancel)
            peer->engine.respond(stream, {});
        if (requests == 1 && deed == Deed::go_away) peer->engine.goaway(h2::Code::no_error);
        if (requests == 1 && deed == Deed::cancel) peer->engine.reset(stream, h2::Code::cancel);
        CO_TRY_DONE(co_await peer->flush());
        peers.push_back(std::move(peer));
    }
}

io::Task<void> run_deed(ByHand& stage, Deed deed, std::size_t& requests) {
    std::ignore = co_await misbehave(stage, deed, requests);
}

// Lets everybody in and sends them away before they can ask for anything.
io::Task<Result<Done>> send_away(ByHand& stage, std::size_t& links) {
    const PeerParts parts = stage.parts();
    CO_TRY(io::Listener listener, io::Listener::open(parts.loop, stage.where, {stage.ip, 15008}, {}));
    std::vector<std::unique_ptr<SimPeer>> peers;
    for (;;) {
        CO_TRY(auto peer, co_await accept_by_hand(parts, listener));
        ++links;
        peer->engine.goaway(h2::Code::no_error);
        CO_TRY_DONE(co_await peer->flush());
        peers.push_back(std::move(peer));
    }
}

io::Task<void> run_sending_away(ByHand& stage, std::size_t& links) {
    std::ignore = co_await send_away(stage, links);
}

}  // namespace

TEST_CASE("a peer that sends every link away is not dialled for ever [H-37, S21]") {
    ByHand stage;
    std::size_t dialled = 0;
    check(stage.pair.servers.start(run_sending_away(stage, dialled)));
    Visit one;
    one.sent = payload(1, 100);
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run());
    CHECK_FALSE(one.clean);
    CHECK(dialled >= 1);
    CHECK(dialled <= 2);
    CHECK(stage.pair.refusals(0, Direction::outbound, Reason::h2_going_away) == 1);
}

TEST_CASE("a CONNECT that is never answered is given up [H-28] [W-2]") {
    ByHand stage;
    std::size_t requests = 0;
    check(stage.pair.servers.start(run_deed(stage, Deed::nothing, requests)));
    Visit one;
    one.sent = payload(1, 100);
    Duration before = stage.pair.now();
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run());
    CHECK(stage.pair.now() - before >= 20s);
    CHECK(stage.pair.now() - before < 21s);
    CHECK_FALSE(one.clean);
    CHECK(stage.pair.refusals(0, Direction::outbound, Reason::connect_reply_timed_out) == 1);
}

TEST_CASE("a status other than 200 is the end, with its number [H-26]") {
    ByHand stage;
    std::size_t requests = 0;
    check(stage.pair.servers.start(run_deed(stage, Deed::refuse, requests)));
    Visit one;
    one.sent = payload(1, 100);
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run());
    CHECK_FALSE(one.clean);
    CHECK(stage.pair.refusals(0, Direction::outbound, Reason::connect_rejected) == 1);
}

TEST_CASE("a link that the peer sends away is replaced by another one [H-37]") {
    ByHand stage;
    std::size_t requests = 0;
    check(stage.pair.servers.start(run_deed(stage, Deed::go_away, requests)));
    Visit one;
    one.sent = payload(1, 100);
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run(1min, [&] { return requests == 2; }));
    CHECK_FALSE(one.done);
    CHECK(stage.pair.close());
}

TEST_CASE("RST_STREAM(CANCEL) is no clean end [S17] [H-31]") {
    ByHand stage;
    std::size_t requests = 0;
    check(stage.pair.servers.start(run_deed(stage, Deed::cancel, requests)));
    Visit one;
    one.sent = payload(1, 100);
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run());
    CHECK_FALSE(one.clean);
}

TEST_CASE("a peer that answers no PING is dead after ten and twenty seconds [H-19]") {
    ByHand stage;
    std::size_t requests = 1;  // so that the CONNECT is served
    check(stage.pair.servers.start(run_deed(stage, Deed::no_pong, requests)));
    Visit one;
    Duration before = stage.pair.now();
    stage.pair.start(one, stage.pair.client->where, {stage.ip, 80});
    REQUIRE(stage.pair.run());
    CHECK(stage.pair.now() - before >= 30s);
    CHECK(stage.pair.now() - before < 31s);
    CHECK_FALSE(one.clean);
    CHECK(stage.pair.refusals(0, Direction::outbound, Reason::timed_out) == 1);
}

TEST_CASE("a live peer is pinged every ten seconds and stays [H-19]") {
    SimPair pair({.seed = 1}, Temper::echo);
    io::Scope scope(pair.world.apps());
    Visit quiet;
    check(scope.start(visit_quietly(pair.world.apps(), pair.client->where, server_at, 10min, quiet)));
    pair.pass(20min);
    CHECK(quiet.clean);
}
