// The simulator's own claims: capture and delivery as the kernel programs do them, trouble on request, what
// crossed.
#include "bpf/abi.h"
#include "lib/io/pump.h"
#include "lib/io/sim.h"
#include "test/support/run.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;
using namespace std::chrono_literals;

namespace {

Address at(std::string_view text) { return *Address::parse(text); }

SimOptions calm() { return {.cut_permille = 0, .full_permille = 0, .delay_permille = 0}; }

// Two pods and a node; apps on one loop, the node proxy on another.
struct World {
    explicit World(const SimOptions& options = calm()) : network(options) {}
    SimNetwork network;
    Namespace a = network.add("a", {*Ip::parse("10.0.0.1"), *Ip::parse("fd00::1")});
    Namespace b = network.add("b", {*Ip::parse("10.0.0.2")});
    Namespace node = network.add("node", {*Ip::parse("10.0.0.254")});
    Loop apps{network.driver(SimNetwork::Who::app)};
    Loop mesh{network.driver(SimNetwork::Who::mesh)};

    void rest() { network.run(std::array{&apps, &mesh}, 60s); }
    Listener listen(Loop& loop, Namespace where, std::string_view address, std::uint32_t role = 0) {
        auto made = Listener::open(loop, where, at(address), {.role = role});
        if (!made) FAIL(made.error().to_string());
        return std::move(*made);
    }
};

Task<Result<Socket>> dial(Loop& loop, Namespace where, Address to, ConnectOptions options) {
    auto connecting = connect(loop, where, to, options);
    co_return co_await connecting;
}

Task<Result<Socket>> accept_one(Listener& listener) { co_return co_await listener.accept(); }

Task<Result<Done>> send_and_wait(Socket& socket, std::string_view text) {
    ConstBytes bytes = as_bytes(text);
    CO_TRY_DONE(co_await socket.send(bytes));
    co_return Done{};
}

Task<Result<std::size_t>> receive_size(Socket& from) {
    CO_TRY(Received got, co_await from.recv(1 << 20));
    co_return got.bytes().size();
}

struct Met {
    std::optional<Result<Socket>> client, server;
    Error refusal() const { return client->error(); }
};

// `from` dials; whoever listens accepts.
Met meet(World& world, Loop& dialler, Namespace from, std::string_view to, Listener* listener,
         ConnectOptions options = {}) {
    Met met;
    Scope dials(dialler), accepts(world.mesh);
    check(dials.start(keep(met.client, dial(dialler, from, at(to), options))));
    std::optional<Scope> accepting;
    if (listener) {
        accepting.emplace(listener->loop());
        check(accepting->start(keep(met.server, accept_one(*listener))));
    }
    world.rest();
    if (accepting) accepting->cancel();
    dials.cancel();
    world.rest();
    REQUIRE(met.client);
    return met;
}

}  // namespace

TEST_CASE("an app of an enrolled pod reaches the node proxy, which learns where it wanted to go", "[sim]") {
    World world;
    world.network.enrol(world.a);
    Listener out = world.listen(world.mesh, world.a, "[::]:15001", CV_ROLE_OUTBOUND);
    Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
    Met met = meet(world, world.apps, world.a, "10.0.0.2:80", &out);
    REQUIRE((*met.client && *met.server));
    CHECK((*met.server)->original_destination() == at("10.0.0.2:80"));
    CHECK((*met.server)->peer()->ip == *Ip::parse("10.0.0.1"));
    CHECK((*met.server)->local()->ip == *Ip::parse("10.0.0.1"));
    CHECK((*met.client)->peer() == at("10.0.0.2:80"));
    CHECK_FALSE((*met.client)->original_destination());
    Met own = meet(world, world.mesh, world.a, "10.0.0.2:80", &server);  // the proxy itself is exempt
    CHECK((*own.client && *own.server));
    CHECK_FALSE((*own.server)->original_destination());
}

TEST_CASE("what enters an enrolled pod reaches the listener of its kind, or nobody", "[sim]") {
    World world;
    Listener app = world.listen(world.apps, world.b, "0.0.0.0:80");
    CHECK(*meet(world, world.apps, world.a, "10.0.0.2:80", &app).server);
    world.network.enrol(world.b);
    CHECK(meet(world, world.apps, world.a, "10.0.0.2:80", nullptr).refusal().reason ==
          Reason::connect_refused);
    Listener inbound = world.listen(world.mesh, world.b, "[::]:15006", CV_ROLE_INBOUND);
    Listener hbone = world.listen(world.mesh, world.b, "[::]:15008", CV_ROLE_HBONE);
    Met plain = meet(world, world.apps, world.a, "10.0.0.2:80", &inbound);
    REQUIRE(*plain.server);
    CHECK((*plain.server)->original_destination() == at("10.0.0.2:80"));
    CHECK((*plain.server)->peer()->ip == *Ip::parse("10.0.0.1"));
    CHECK(*meet(world, world.mesh, world.a, "10.0.0.2:15008", &hbone).server);
    world.network.approve(world.node, at("10.0.0.2:80"));
    Met probe = meet(world, world.apps, world.node, "10.0.0.2:80", &app);
    REQUIRE(*probe.server);
    CHECK((*probe.server)->peer()->ip == *Ip::parse("10.0.0.254"));
    Met self = meet(world, world.apps, world.b, "127.0.0.1:80", &app);
    CHECK(*self.server);
}

TEST_CASE("the app sees the real client where the mesh told it, and only then is the client bound [S3]",
          "[sim]") {
    World world;
    world.network.enrol(world.b);
    Listener app = world.listen(world.apps, world.b, "0.0.0.0:80");
    ConnectOptions options{.real_client = at("10.0.0.1:4711"), .from_loopback = true};
    Met met = meet(world, world.mesh, world.b, "10.0.0.2:80", &app, options);
    REQUIRE(*met.server);
    CHECK((*met.server)->peer() == at("10.0.0.1:4711"));
    CHECK((*met.client)->client_bound());
    CHECK((*met.client)->local()->ip.is_loopback());
    world.network.lose_binding(true);
    Met lost = meet(world, world.mesh, world.b, "10.0.0.2:80", &app, options);
    REQUIRE(*lost.client);
    CHECK_FALSE((*lost.client)->client_bound());
    CHECK((*lost.server)->peer() != at("10.0.0.1:4711"));
    world.network.refuse_real_client(true);
    CHECK(meet(world, world.mesh, world.b, "10.0.0.2:80", &app, options).refusal().reason ==
          Reason::client_not_bound);
    CHECK(meet(world, world.apps, world.b, "10.0.0.2:80", &app, options).refusal().reason ==
          Reason::client_not_bound);
    CHECK_FALSE(Listener::open(world.apps, world.b, at("0.0.0.0:81"), {.role = CV_ROLE_INBOUND}));
}

TEST_CASE("connects are refused, unanswered or without a route as asked", "[sim]") {
    World world;
    Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
    world.network.refuse(at("10.0.0.2:0"));
    CHECK(meet(world, world.apps, world.a, "10.0.0.2:80", nullptr).refusal().detail == ECONNREFUSED);
    world.network.heal(at("10.0.0.2:0"));
    CHECK(*meet(world, world.apps, world.a, "10.0.0.2:80", &server).server);
    CHECK(meet(world, world.apps, world.a, "10.9.9.9:80", nullptr).refusal().detail == EHOSTUNREACH);
    CHECK(meet(world, world.apps, world.b, "[fd00::1]:80", nullptr).refusal().reason ==
          Reason::connect_refused);
    world.network.black_hole(at("10.0.0.2:80"));
    Instant before = world.apps.now();
    auto dialling = dial(world.apps, world.a, at("10.0.0.2:80"), {});
    auto late = run(world.apps, within(world.apps, 10s, std::move(dialling)));
    REQUIRE_FALSE(late);
    CHECK(late.error().reason == Reason::timed_out);
    CHECK(world.apps.now() - before == 10s);
}

TEST_CASE("what crosses between namespaces is recorded, what stays inside is not", "[sim]") {
    World world(SimOptions{.seed = 9, .cut_permille = 900});
    world.network.record();
    Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
    Met across = meet(world, world.apps, world.a, "10.0.0.2:80", &server);
    Met inside = meet(world, world.apps, world.b, "10.0.0.2:80", &server);
    REQUIRE(run(world.apps, send_and_wait(**across.client, "the marker crosses")));
    REQUIRE(run(world.apps, send_and_wait(**inside.client, "the secret stays")));
    CHECK(world.network.crossed("marker crosses"));
    CHECK_FALSE(world.network.crossed("secret"));
    REQUIRE(world.network.flows().size() == 1);
    CHECK(world.network.flows()[0].from == world.a);
    CHECK(world.network.flows()[0].destination == at("10.0.0.2:80"));
}

TEST_CASE("a reset on request is seen at both ends", "[sim]") {
    for (bool between : {false, true}) {
        World world;
        Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
        Met met = meet(world, world.apps, world.a, "10.0.0.2:80", &server);
        if (between) world.network.reset_between(world.a, world.b);
        if (!between) world.network.reset((*met.server)->handle());
        CHECK(run(world.apps, receive_size(**met.client)).error().reason == Reason::reset);
        CHECK(run(world.apps, receive_size(**met.server)).error().reason == Reason::reset);
        CHECK((*met.client)->try_send(as_bytes("x")).error().reason == Reason::reset);
    }
}

TEST_CASE("a close with unread bytes is a reset, a clean one an end", "[sim]") {
    World world;
    Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
    for (bool unread : {true, false}) {
        Met met = meet(world, world.apps, world.a, "10.0.0.2:80", &server);
        if (unread) REQUIRE((*met.client)->try_send(as_bytes("never read")) == 10);
        met.server.reset();
        auto got = run(world.apps, receive_size(**met.client));
        if (unread) CHECK(got.error().reason == Reason::reset);
        if (!unread) CHECK(got == 0);
    }
}

TEST_CASE("a cancel and what it races with come out both ways, and no byte is lost either way", "[sim]") {
    std::size_t delivered = 0, cancelled = 0;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        World world(SimOptions{.seed = seed, .full_permille = 0});
        Listener server = world.listen(world.apps, world.b, "0.0.0.0:80");
        Met met = meet(world, world.apps, world.a, "10.0.0.2:80", &server);
        std::optional<Result<std::size_t>> got;
        Scope scope(world.apps);
        check(scope.start(keep(got, receive_size(**met.server))));
        world.rest();
        auto sent = (*met.client)->try_send(as_bytes("in time"));
        REQUIRE(sent);
        scope.cancel();
        world.rest();
        REQUIRE(got);
        (*got ? delivered : cancelled)++;
        std::size_t total = got->value_or(0);
        while (total < *sent) total += *run(world.apps, receive_size(**met.server));
        CHECK(total == *sent);
    }
    CHECK(delivered > 10);
    CHECK(cancelled > 10);
}
