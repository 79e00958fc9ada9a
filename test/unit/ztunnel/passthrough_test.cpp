// Plaintext that reaches an enrolled pod.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using ztunnel::Direction;

namespace {

struct Stranger {
    explicit Stranger(Temper temper)
        : pair({.seed = 1}, temper), where(pair.world.add_plain("stranger", other_ip)) {}
    void start(Visit& visit) { pair.start(visit, where, server_at); }
    // What STRICT is on the wire: deny whoever proves no identity.
    void strict() {
        mesh::Match match;
        match.principals.none_of = {mesh::StringMatch::presence()};
        mesh::Policy policy{"strict", "test", mesh::PolicyScope::name_space, mesh::PolicyAction::deny, {}};
        policy.rules = {{{{{match}}}}};
        mesh::Delta delta;
        delta.policies = {{"test/strict", policy}};
        pair.world.publish(delta);
    }
    SimPair pair;
    io::Namespace where;
};

}  // namespace

TEST_CASE("plaintext is let through where policy permits, and the app sees the client [I-12] [I-13] [D11]") {
    Stranger stage(Temper::echo);
    Visit one;
    one.sent = payload(1, 50'000);
    stage.start(one);
    REQUIRE(stage.pair.run());
    CHECK(whole(Temper::echo, one));
    REQUIRE(stage.pair.served.clients.size() == 1);
    CHECK(stage.pair.served.clients[0].ip == other_ip);
    (void)stage.pair.close();
}

TEST_CASE("a STRICT pod refuses plaintext and still serves the mesh [R-8] [I-13]") {
    Stranger stage(Temper::echo);
    stage.strict();
    Visit refused, meshed;
    refused.sent = meshed.sent = payload(1, 1000);
    stage.start(refused);
    stage.pair.start(meshed);
    REQUIRE(stage.pair.run());
    CHECK_FALSE(refused.clean);
    CHECK(refused.got.empty());
    CHECK(whole(Temper::echo, meshed));
    CHECK(stage.pair.served.accepted == 1);
    CHECK(stage.pair.refusals(1, Direction::inbound, Reason::policy_denied) == 1);
    (void)stage.pair.close();
}

TEST_CASE("STRICT that comes later cuts plaintext that runs [R-11] [W-3]") {
    Stranger stage(Temper::late);
    Visit one;
    one.sent = payload(1, 500'000);
    stage.start(one);
    REQUIRE(stage.pair.run(1h, [&] { return stage.pair.served.accepted == 1; }));
    stage.strict();
    REQUIRE(stage.pair.run());
    CHECK_FALSE(one.clean);
    CHECK(stage.pair.refusals(1, Direction::inbound, Reason::policy_changed) == 1);
    (void)stage.pair.close();
}

TEST_CASE("a policy that a workload newly names cuts what it forbids [W-3] [R-12]") {
    SimPair pair({.seed = 1}, Temper::late);
    Visit one;
    one.sent = payload(1, 500'000);
    pair.start(one);
    REQUIRE(pair.run(1h, [&] { return pair.served.accepted == 1; }));
    mesh::Match match;
    match.namespaces.any_of = {mesh::StringMatch::exact("test")};
    mesh::Policy policy{
        "selected", "test", mesh::PolicyScope::workload_selector, mesh::PolicyAction::deny, {}};
    policy.rules = {{{{{match}}}}};
    mesh::Delta first;
    first.policies = {{"test/selected", policy}};
    pair.world.publish(first);
    pair.pass(1ms);
    CHECK_FALSE(one.done);  // nobody names it yet
    mesh::Workload says = SimWorld::workload("server", server_ip, "server");
    says.authorization_policies = {"test/selected"};
    pair.publish(says);
    REQUIRE(pair.run());
    CHECK_FALSE(one.clean);
    CHECK(pair.refusals(1, Direction::inbound, Reason::policy_changed) == 1);
}
