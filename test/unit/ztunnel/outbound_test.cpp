// What happens to an app's connection: where it goes, how it is refused, what its peer hears.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using Kind = h2::Event::Kind;
using ztunnel::Direction;

namespace {

const Ip plain_ip = *Ip::parse("10.5.0.1");
const Ip foreign_ip = *Ip::parse("10.3.0.1");
const Ip vip = *Ip::parse("10.96.0.10");

// A server outside the mesh.
struct Plain {
    explicit Plain(SimPair& pair) : where(pair.world.add_plain("plain", plain_ip)) {
        check(pair.servers.start(serve(pair.servers, where, at, Temper::echo, served)));
    }
    const Address at{plain_ip, 80};
    io::Namespace where;
    Server served;
};

mesh::Service service_of(std::string hostname, std::uint16_t port, std::uint16_t target) {
    mesh::Service service;
    service.name = "web";
    service.name_space = "test";
    service.hostname = std::move(hostname);
    service.vips = {{"", *Cidr::make(vip, 32)}};
    service.ports = {{port, target}};
    return service;
}

}  // namespace

TEST_CASE("a destination outside the mesh is reached in plain TCP [O-6] [H-29]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Plain plain(pair);
    Visit one;
    one.sent = payload(1, 50'000);
    pair.start(one, pair.client->where, plain.at);
    REQUIRE(pair.run());
    CHECK(whole(Temper::echo, one));
    CHECK(pair.world.network.crossed(marker));  // the check of secrecy can see what is in the clear
    (void)pair.close();
}

TEST_CASE("a workload without HBONE is reached in plain TCP [O-10]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Plain plain(pair);
    mesh::Workload says = SimWorld::workload("plain", plain_ip, "plain");
    says.tunnel_protocol = mesh::TunnelProtocol::none;
    pair.publish(says);
    Visit one;
    one.sent = payload(1, 50'000);
    pair.start(one, pair.client->where, plain.at);
    REQUIRE(pair.run());
    CHECK(whole(Temper::echo, one));
    CHECK(pair.client->view.pool().links() == 0);
    (void)pair.close();
}

TEST_CASE("a service's address is mapped to an endpoint and its port [O-5] [O-19]") {
    SimPair pair({.seed = 1}, Temper::echo);
    mesh::Workload says = SimWorld::workload("server", server_ip, "server");
    says.services[{"test", "web.test.svc.cluster.local"}] = {{80, 8080}};
    mesh::Delta delta;
    delta.addresses = {service_of("web.test.svc.cluster.local", 80, 8080), says};
    pair.world.publish(delta);
    Visit one, wrong_port;
    one.sent = wrong_port.sent = payload(1, 5'000);
    pair.start(one, pair.client->where, {vip, 80});
    pair.start(wrong_port, pair.client->where, {vip, 81});
    REQUIRE(pair.run());
    CHECK(whole(Temper::echo, one));
    CHECK_FALSE(wrong_port.clean);
}

TEST_CASE("a call to ztunnel itself is refused [O-1] [S8]") {
    SimPair pair({.seed = 1}, Temper::echo);
    Visit one;
    one.sent = payload(1, 100);
    auto port = GENERATE(std::uint16_t{15001}, std::uint16_t{15006}, std::uint16_t{15008});
    pair.start(one, pair.client->where, {client_ip, port});
    REQUIRE(pair.run());
    CHECK(one.got.empty());
    CHECK(pair.served.accepted == 0);
}

TEST_CASE("an unknown address of the mesh's own ranges waits, then is refused [S14]") {
    ztunnel::Settings settings;
    settings.around.mesh_ranges = {*Cidr::parse("10.0.0.0/8")};
    SimPair pair({.seed = 1}, Temper::echo, settings);
    Plain plain(pair);
    Visit one;
    one.sent = payload(1, 100);
    Duration before = pair.now();
    pair.start(one, pair.client->where, plain.at);
    REQUIRE(pair.run());
    CHECK(pair.now() - before >= 5s);
    CHECK(pair.now() - before < 6s);
    CHECK_FALSE(one.clean);
    CHECK(plain.served.accepted == 0);
    CHECK(pair.refusals(0, Direction::outbound, Reason::destination_unknown) == 1);
}

TEST_CASE("an address last known as HBONE is never downgraded [S14]") {
    SimPair pair({.seed = 1}, Temper::echo);
    mesh::Delta delta;
    delta.removed_addresses = {"cluster//Pod/test/server"};
    pair.world.publish(delta);
    Visit one;
    one.sent = payload(1, 100);
    pair.start(one);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(pair.refusals(0, Direction::outbound, Reason::downgrade_refused) == 1);
}

TEST_CASE("before the first answer of the controller nothing leaves, not even to the outside [O-2]") {
    SimWorld world({.seed = 1});
    SimPod& pod = world.enrol(0, SimWorld::workload("client", client_ip, "client"));
    io::Scope scope(world.apps());
    Visit one;
    one.sent = payload(1, 100);
    check(scope.start(visit(world.apps(), pod.where, {plain_ip, 80}, one)));
    Duration before = world.network.clock().now().since_start;
    (void)world.run(1h, [&] { return scope.children() == 0; });
    CHECK(world.network.clock().now().since_start - before >= 5s);
    CHECK(pod.node.shard.telemetry().refusals(Direction::outbound, Reason::not_synced) == 1);
}

TEST_CASE("a server that proves another identity is not spoken to [H-14]") {
    SimPair pair({.seed = 1}, Temper::echo);
    mesh::Workload says = SimWorld::workload("server", server_ip, "somebody-else");
    pair.publish(says);
    // Its own proxy goes on as "server": pods keep the account they were enrolled with.
    Visit one;
    one.sent = payload(1, 100);
    pair.start(one);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(pair.served.accepted == 0);
}

TEST_CASE("without a certificate nothing is dialled [H-10]") {
    SimPair pair({.seed = 1}, Temper::echo);
    pair.world.credentials.withheld = true;
    Visit one;
    one.sent = payload(1, 100);
    pair.start(one);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(pair.refusals(0, Direction::outbound, Reason::no_certificate) == 1);
}

TEST_CASE("a pod's connections are capped [S21]") {
    ztunnel::Settings settings;
    settings.sockets_max = 2;
    SimPair pair({.seed = 1}, Temper::late, settings);
    auto visits = visits_of(4, 300'000);
    pair.start(visits);
    REQUIRE(pair.run());
    std::size_t served = 0;
    for (const Visit& each : visits) served += whole(Temper::late, each) ? 1 : 0;
    CHECK(served >= 2);
    CHECK(served + pair.refusals(0, Direction::outbound, Reason::limit) == 4);
}

// ---- what the peer hears ----

namespace {

struct Foreign {
    Foreign() : pair({.seed = 1}, Temper::echo), where(pair.world.add_plain("foreign", foreign_ip)) {
        pair.publish(SimWorld::workload("foreign", foreign_ip, "server"));
    }
    void start(Visit& visit) { pair.start(visit, pair.client->where, {foreign_ip, 80}); }
    SimPair pair;
    io::Namespace where;
};

// The first CONNECT of the first link, and how its stream ended when the app aborted.
struct First {
    h2::ConnectRequest request;
    h2::Code reset_code = h2::Code::no_error;
    Buffer bytes;
};

io::Task<Result<Done>> hear_first(Foreign& stage, First& first, bool until_reset) {
    const PeerParts parts = stage.pair.hand(stage.where, server_identity);
    CO_TRY(io::Listener listener, io::Listener::open(parts.loop, stage.where, {foreign_ip, 15008}, {}));
    CO_TRY(auto peer, co_await accept_by_hand(parts, listener));
    CO_TRY(SimPeer::Heard request, co_await peer->hear(Kind::request));
    first.request = *request.event.request;
    peer->engine.respond(request.event.stream, {});
    if (!until_reset) co_return co_await peer->flush();
    CO_TRY(SimPeer::Heard reset, co_await peer->hear(Kind::reset));
    first.reset_code = reset.event.code;
    co_return Done{};
}

io::Task<void> run_first(Foreign& stage, First& first, bool until_reset) {
    std::ignore = co_await hear_first(stage, first, until_reset);
}

io::Task<void> connect_and_abort(io::Loop& loop, io::Namespace from, Address to, bool fin_first = false) {
    auto dialling = io::connect(loop, from, to, {});
    auto socket = co_await dialling;
    if (!socket) co_return;
    const Buffer some = payload(1, 100);
    std::ignore = co_await socket->send(some);
    if (fin_first) socket->shut_write();
    std::ignore = co_await io::sleep(loop, 1s);
    socket->reset_on_close();
}

}  // namespace

TEST_CASE("a CONNECT says where to, for whom, and who asks [H-20] [H-21] [H-22] [H-24]") {
    Foreign stage;
    First first;
    check(stage.pair.servers.start(run_first(stage, first, false)));
    Visit one;
    one.sent = payload(1, 100);
    stage.start(one);
    REQUIRE(stage.pair.run());
    CHECK(first.request.method == "CONNECT");
    CHECK(first.request.authority == "10.3.0.1:80");
    CHECK(first.request.forwarded.starts_with("for=\"10.1.0.1:"));
    CHECK(first.request.traceparent.size() == 55);
    CHECK(first.request.baggage.find("k8s.namespace.name=test,k8s.deployment.name=client") !=
          std::string::npos);
    CHECK(first.request.x_forwarded_network.empty());
    CHECK_FALSE(one.clean);  // the peer left without END_STREAM
}

TEST_CASE("an app's abort travels as RST_STREAM(CONNECT_ERROR) [S17] [W-1] [H-33]") {
    Foreign stage;
    First first;
    check(stage.pair.servers.start(run_first(stage, first, true)));
    check(stage.pair.clients.start(
        connect_and_abort(stage.pair.world.apps(), stage.pair.client->where, {foreign_ip, 80})));
    REQUIRE(stage.pair.run());
    stage.pair.pass(5s);
    CHECK(first.reset_code == h2::Code::connect_error);
}

TEST_CASE("an app that is gone after its FIN is noticed, although nobody reads from it [S17, S21]") {
    Foreign stage;
    First first;
    check(stage.pair.servers.start(run_first(stage, first, true)));
    check(stage.pair.clients.start(
        connect_and_abort(stage.pair.world.apps(), stage.pair.client->where, {foreign_ip, 80}, true)));
    stage.pair.pass(20s);
    CHECK(first.reset_code == h2::Code::no_error);
    stage.pair.pass(20s);
    CHECK(first.reset_code == h2::Code::connect_error);
}

// ---- back-pressure ----

namespace {

// Fills a tunnel towards an app that does not read; how much the peer let us send.
io::Task<Result<std::size_t>> fill(PeerParts parts) {
    const std::vector<mesh::Identity> accepted{server_identity};
    CO_TRY(auto peer, co_await dial_by_hand(parts, server_hbone, accepted));
    CO_TRY_DONE(co_await peer->hear(Kind::settings));
    h2::ConnectRequest request;
    request.authority = "10.2.0.1:9000";
    CO_TRY(h2::StreamId stream, peer->engine.connect(request));
    CO_TRY_DONE(co_await peer->hear(Kind::response));
    std::size_t sent = 0;
    const Buffer piece(h2::data_max);
    for (int idle = 0; idle < 20;) {
        std::size_t allowed = std::min(peer->engine.send_allowance(stream), piece.size());
        if (allowed != 0) peer->data(stream, ConstBytes(piece).first(allowed), false);
        sent += allowed;
        idle = allowed == 0 ? idle + 1 : 0;
        CO_TRY_DONE(co_await peer->flush());
        peer->engine.ping(7);
        CO_TRY_DONE(co_await peer->hear(Kind::pong));
    }
    co_return sent;
}

}  // namespace

TEST_CASE("credit returns only for what the app's socket took [H-34] [S18] [S19]") {
    SimPair pair({.seed = 1, .pipe_bytes = 50'000}, Temper::echo);
    Server deaf;
    check(pair.servers.start(serve_deaf(pair.servers, pair.server->where, {server_ip, 9000}, deaf)));
    auto parts = pair.hand(pair.world.add_plain("node", other_ip), client_identity);
    auto sent = pair.by_hand(fill(parts));
    REQUIRE(sent.has_value());
    // The window that an open stream has, and what the app's socket holds; never more.
    CHECK(*sent >= 256u << 10);
    CHECK(*sent <= (256u << 10) + 2 * 50'000);
}
