// HBONE arriving at a pod, judged from a peer that is played by hand.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using Kind = h2::Event::Kind;
using ztunnel::Direction;

namespace {

// What a CONNECT is told.
io::Task<Result<SimPeer::Heard>> ask(PeerParts parts, h2::ConnectRequest request) {
    const std::vector<mesh::Identity> accepted{server_identity};
    CO_TRY(auto peer, co_await dial_by_hand(parts, server_hbone, accepted));
    CO_TRY_DONE(co_await peer->hear(Kind::settings));
    CO_TRY_DONE(peer->engine.connect(request));
    co_return co_await peer->hear(Kind::response);
}

struct Answer {
    int status = 0;
    std::string baggage;
};

Answer answer_to(SimPair& pair, h2::ConnectRequest request, mesh::Identity who = client_identity) {
    auto parts = pair.hand(pair.world.add_plain("node", *Ip::parse("10.1.0.77")), std::move(who));
    auto heard = pair.by_hand(ask(parts, std::move(request)));
    if (!heard) return {-static_cast<int>(heard.error().reason), {}};
    return {heard->event.response->status, heard->event.response->baggage};
}

h2::ConnectRequest to(std::string authority) {
    h2::ConnectRequest request;
    request.authority = std::move(authority);
    return request;
}

}  // namespace

TEST_CASE("a CONNECT to the pod's own address is served, with the pod's baggage [H-25] [H-26] [I-1]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Answer answer = answer_to(pair, to("10.2.0.1:8080"));
    CHECK(answer.status == 200);
    CHECK(answer.baggage.find("k8s.deployment.name=server") != std::string::npos);
    CHECK(pair.served.accepted == 1);
}

TEST_CASE("response baggage can be switched off [H-25]") {
    ztunnel::Settings settings;
    settings.response_baggage = false;
    SimPair pair({.seed = 1}, Temper::echo, settings);
    CHECK(answer_to(pair, to("10.2.0.1:8080")).baggage.empty());
}

TEST_CASE("what is asked wrongly is refused before anything is dialled [H-26] [I-3] [I-4] [I-7] [I-9] [I-10] "
          "[S15]") {
    struct Row {
        std::string authority;
        int status;
        Reason reason;
    };
    auto row = GENERATE(Row{"10.9.9.9:8080", 400, Reason::authority_not_ours},  // somebody else's address
                        Row{"10.2.0.1", 400, Reason::bad_request},              // no port
                        Row{"10.2.0.1:99999", 400, Reason::bad_request},        //
                        Row{"nobody.example:80", 503, Reason::destination_unknown},  // no such service
                        Row{"10.2.0.1:15001", 503, Reason::loop_to_ourselves},       // a loop
                        Row{"10.2.0.1:15008", 503, Reason::loop_to_ourselves});      //
    SimPair pair({.seed = 1}, Temper::echo);
    CHECK(answer_to(pair, to(row.authority)).status == row.status);
    CHECK(pair.served.accepted == 0);
    CHECK(pair.refusals(1, Direction::inbound, row.reason) == 1);
}

TEST_CASE("a method other than CONNECT is answered 400 [H-20] [H-26]") {
    SimPair pair({.seed = 1}, Temper::echo);
    h2::ConnectRequest request = to("10.2.0.1:8080");
    request.method = "GET";
    int status = answer_to(pair, request).status;
    CHECK((status == 400 || status == -static_cast<int>(Reason::bad_input)));
    CHECK(pair.served.accepted == 0);
}

TEST_CASE("who is denied hears 401 [H-26] [R-2]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.deny("client");
    CHECK(answer_to(pair, to("10.2.0.1:8080")).status == 401);
    CHECK(pair.served.accepted == 0);
    CHECK(answer_to(pair, to("10.2.0.1:8080"), {"cluster.local", "test", "other"}).status == 200);
}

TEST_CASE("an app that refuses is 503 [H-26] [I-6]") {
    SimPair pair({.seed = 1}, Temper::echo);
    CHECK(answer_to(pair, to("10.2.0.1:9999")).status == 503);
    CHECK(pair.refusals(1, Direction::inbound, Reason::connect_refused) == 1);
}

TEST_CASE("an app that never answers is 503 after ten seconds, and 200 never comes early [H-27] [I-6]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.world.network.black_hole({server_ip, 9999});
    Duration before = pair.now();
    CHECK(answer_to(pair, to("10.2.0.1:9999")).status == 503);
    CHECK(pair.now() - before >= 10s);
    CHECK(pair.now() - before < 11s);
}

TEST_CASE("a client of another trust domain is not let in [H-13]") {
    SimPair pair({.seed = 1}, Temper::echo);
    CHECK(answer_to(pair, to("10.2.0.1:8080"), {"elsewhere.test", "test", "client"}).status < 0);
    CHECK(pair.refusals(1, Direction::inbound, Reason::tls_identity) == 1);
    CHECK(pair.served.accepted == 0);
}

namespace {

// Connects, says `bytes`, and waits for the end.
io::Task<void> say_and_wait(io::Loop& loop, io::Namespace where, ConstBytes bytes, bool& ended) {
    auto dialling = io::connect(loop, where, server_hbone, {});
    auto socket = co_await dialling;
    if (!socket) co_return;
    if (!bytes.empty()) {
        std::ignore = co_await socket->send(bytes);
    }
    for (bool open = true; open;) {
        auto received = co_await socket->recv(1000);
        open = received && !received->end();
    }
    ended = true;
}

}  // namespace

TEST_CASE("a half-open handshake ends at its deadline [W-2] [S21]") {
    SimPair pair({.seed = 1}, Temper::echo);
    io::Namespace where = pair.world.add_plain("slow", *Ip::parse("10.1.0.77"));
    bool ended = false;
    Duration before = pair.now();
    check(pair.clients.start(say_and_wait(pair.world.apps(), where, {}, ended)));
    REQUIRE(pair.run());
    CHECK(ended);
    CHECK(pair.now() - before >= 10s);
    CHECK(pair.now() - before < 11s);
    CHECK(pair.refusals(1, Direction::inbound, Reason::timed_out) == 1);
}

TEST_CASE("half-open handshakes are capped [S21]") {
    ztunnel::Settings settings;
    settings.handshakes_max = 2;
    SimPair pair({.seed = 1}, Temper::echo, settings);
    io::Namespace where = pair.world.add_plain("slow", *Ip::parse("10.1.0.77"));
    std::array<bool, 5> ended{};
    for (bool& each : ended) check(pair.clients.start(say_and_wait(pair.world.apps(), where, {}, each)));
    REQUIRE(pair.run());
    CHECK(pair.refusals(1, Direction::inbound, Reason::limit) == 3);
    CHECK(pair.refusals(1, Direction::inbound, Reason::timed_out) == 2);
}

TEST_CASE("the app must see the real client, or it hears nothing [S3]") {
    SimPair pair({.seed = 1}, Temper::first);
    pair.world.network.lose_binding(true);
    Visit one;
    one.sent = payload(1, 5000);
    pair.start(one);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(one.got.empty());
    CHECK(pair.refusals(1, Direction::inbound, Reason::client_not_bound) == 1);
    pair.world.network.lose_binding(false);
    Visit two;
    two.sent = payload(2, 5000);
    pair.start(two);
    REQUIRE(pair.run());
    CHECK(whole(Temper::first, two));
}

// ---- before the directory knows ----

namespace {

struct Unknown {
    Unknown() : pair({.seed = 1}, Temper::echo) {
        mesh::Delta delta;
        delta.removed_addresses = {"cluster//Pod/test/server"};
        pair.world.publish(delta);
    }
    SimPair pair;
};

}  // namespace

TEST_CASE("a CONNECT for a pod that WDS does not know waits five seconds, then hears 503 [I-2]") {
    Unknown stage;
    Duration before = stage.pair.now();
    CHECK(answer_to(stage.pair, to("10.2.0.1:8080")).status == 503);
    CHECK(stage.pair.now() - before >= 5s);
    CHECK(stage.pair.now() - before < 6s);
    CHECK(stage.pair.refusals(1, Direction::inbound, Reason::source_unknown) == 1);
}

namespace {

io::Task<void> publish_later(SimPair& pair, Duration after) {
    std::ignore = co_await io::sleep(pair.world.apps(), after);
    pair.publish(SimWorld::workload("server", server_ip, "server"));
}

}  // namespace

TEST_CASE("what arrives in the directory within the wait is served [I-2]") {
    Unknown stage;
    check(stage.pair.clients.start(publish_later(stage.pair, 3s)));
    CHECK(answer_to(stage.pair, to("10.2.0.1:8080")).status == 200);
}

TEST_CASE("until policies have arrived nobody is let in [I-2]") {
    io::SimOptions options{.seed = 1};
    SimWorld world(options);
    mesh::Workload says = SimWorld::workload("server", server_ip, "server");
    SimPod& pod = world.enrol(0, says);
    mesh::Delta delta;
    delta.addresses = {says};
    delta.addresses_complete = true;
    world.publish(delta);
    io::Namespace where = world.add_plain("plain", *Ip::parse("10.1.0.77"));
    io::Scope clients(world.apps());
    Visit one;
    one.sent = payload(1, 100);
    check(clients.start(visit(world.apps(), where, server_at, one)));
    (void)world.run(1h, [&] { return clients.children() == 0; });
    CHECK_FALSE(one.clean);
    CHECK(pod.node.shard.telemetry().refusals(Direction::inbound, Reason::not_synced) == 1);
}

// ---- bounds ----

namespace {

io::Task<Result<Done>> dial_links(PeerParts parts, std::size_t count,
                                  std::vector<std::unique_ptr<SimPeer>>& kept) {
    const std::vector<mesh::Identity> accepted{server_identity};
    for (std::size_t i = 0; i < count; ++i) {
        CO_TRY(auto peer, co_await dial_by_hand(parts, server_hbone, accepted));
        CO_TRY_DONE(co_await peer->hear(Kind::settings));
        kept.push_back(std::move(peer));
    }
    co_return Done{};
}

io::Task<Result<h2::Code>> ask_beyond(PeerParts parts, int room) {
    const std::vector<mesh::Identity> accepted{server_identity};
    CO_TRY(auto peer, co_await dial_by_hand(parts, server_hbone, accepted));
    CO_TRY_DONE(co_await peer->hear(Kind::settings));
    const h2::ConnectRequest request = to("10.2.0.1:8080");
    for (int i = 0; i < room; ++i) {
        CO_TRY_DONE(peer->engine.connect(request));
        CO_TRY_DONE(co_await peer->hear(Kind::response));
    }
    CO_TRY_DONE(peer->engine.connect(request));
    CO_TRY(SimPeer::Heard reset, co_await peer->hear(Kind::reset));
    co_return reset.event.code;
}

}  // namespace

TEST_CASE("one caller gets so many links of a pod and no more, and another caller still gets one [S21]") {
    ztunnel::Settings settings;
    settings.links_of_caller_max = 3;
    SimPair pair({.seed = 1}, Temper::echo, settings);
    std::vector<std::unique_ptr<SimPeer>> kept;
    auto parts = pair.hand(pair.world.add_plain("greedy", *Ip::parse("10.1.0.66")), client_identity);
    CHECK_FALSE(pair.by_hand(dial_links(parts, 4, kept)));
    CHECK(kept.size() == 3);
    CHECK(pair.refusals(1, Direction::inbound, Reason::limit) == 1);
    CHECK(answer_to(pair, to("10.2.0.1:8080")).status == 200);
    kept.clear();
    pair.pass(1s);
    CHECK(pair.by_hand(dial_links(parts, 3, kept)));
}

TEST_CASE("a pod's tunnels are capped: one more is refused as if nothing had been done [S21, H-37]") {
    ztunnel::Settings settings;
    settings.sockets_max = 5;
    SimPair pair({.seed = 1}, Temper::echo, settings);
    auto parts = pair.hand(pair.world.add_plain("node", *Ip::parse("10.1.0.77")), client_identity);
    auto code = pair.by_hand(ask_beyond(parts, 5));
    REQUIRE(code);
    CHECK(*code == h2::Code::refused_stream);
    CHECK(pair.refusals(1, Direction::inbound, Reason::limit) == 1);
}

TEST_CASE("a link that has been accepted is no longer beginning") {
    SimPair pair({.seed = 1}, Temper::echo);
    std::vector<std::unique_ptr<SimPeer>> kept;
    auto parts = pair.hand(pair.world.add_plain("node", *Ip::parse("10.1.0.77")), client_identity);
    CHECK(pair.by_hand(dial_links(parts, ztunnel::PodView::beginning_crowd + 1, kept)));
    CHECK_FALSE(pair.server->view.crowded());
}

TEST_CASE("bytes that nobody takes are bounded: who adds to them is reset, who reads is not [S18]") {
    ztunnel::Settings settings;
    settings.held_of_pod_max = 600'000;
    SimPair pair({.seed = 1}, Temper::late, settings);
    Server deaf;
    const Address deaf_at{server_ip, 9000};
    check(pair.servers.start(serve_deaf(pair.servers, pair.server->where, deaf_at, deaf)));
    auto bulk = visits_of(8, 3'000'000);
    for (Visit& each : bulk) pair.start(each, pair.client->where, deaf_at);
    pair.pass(10s);
    const std::uint64_t cut = pair.refusals(1, Direction::inbound, Reason::limit);
    CHECK(cut >= 1);
    CHECK(cut < 8);
    Visit small;
    small.sent = payload(2, 1000);
    pair.start(small);
    REQUIRE(pair.run(1h, [&] { return small.done; }));
    CHECK(whole(Temper::late, small));
    CHECK(pair.close());
}

// ---- the end of a pod ----

TEST_CASE("a pod that is removed is cut at once, and says why [R-15]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one;
    one.sent = payload(1, 500'000);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    pair.server->view.cut(Reason::pod_removed);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(pair.refusals(1, Direction::inbound, Reason::pod_removed) == 1);
}

TEST_CASE("the removal of a pod from WDS alone touches no established connection [R-15]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one;
    one.sent = payload(1, 200'000);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    mesh::Delta delta;
    delta.removed_addresses = {"cluster//Pod/test/server"};
    pair.world.publish(delta);
    pair.deny("somebody");
    REQUIRE(pair.run());
    CHECK(whole(Temper::late, one));
}

TEST_CASE("a draining pod lets what runs go on and takes nothing new [H-36]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Visit running, refused;
    check(pair.clients.start(visit_quietly(pair.world.apps(), pair.client->where, server_at, 1min, running)));
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    pair.server->view.drain();
    pair.pass(10s);
    refused.sent = payload(2, 1000);
    pair.start(refused);
    pair.pass(10s);
    CHECK((refused.done && !refused.clean));
    CHECK_FALSE(running.done);
    REQUIRE(pair.run());
    CHECK(running.clean);
    CHECK(pair.served.accepted == 1);
}
