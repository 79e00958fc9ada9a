#include "lib/mesh/rbac.h"
#include "test/support/random_policies.h"
#include "test/support/slow_rbac.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

namespace {

const Identity caller{"td", "from", "client"};

RbacConnection connection(std::optional<Identity> identity = caller) {
    return {ip("10.0.0.1"), std::move(identity), at("10.0.0.2:8080")};
}

Policy policy(PolicyAction action, std::vector<Match> matches, PolicyScope scope = PolicyScope::name_space) {
    Policy made{"p", "ns", scope, action, {}, false};
    made.rules = {Rule{{Clause{std::move(matches)}}}};
    return made;
}

Match with(const std::function<void(Match&)>& change) {
    Match match;
    change(match);
    return match;
}

bool holds(const Match& match, const RbacConnection& made = connection(),
           PolicyAction action = PolicyAction::allow) {
    return matches(policy(action, {match}), made);
}

Match anyone() {
    return with([](Match& match) { match.source_ips.any_of = {{cidr("0.0.0.0/0"), false}}; });
}

Judgement judged(const std::vector<NamedPolicy>& policies,
                 const Workload& destination = pod("a", {"10.0.0.2"}),
                 const RbacConnection& made = connection()) {
    return judge(*directory({}, policies), *make_record(destination), made);
}

}  // namespace

TEST_CASE("without policies everything is allowed [R-2]") {
    CHECK(judged({}) == Judgement{true, Reason::none, {}});
}

TEST_CASE("a DENY that matches decides, whatever allows [R-2]") {
    Judgement result = judged({{"ns/allow", policy(PolicyAction::allow, {anyone()})},
                               {"ns/deny", policy(PolicyAction::deny, {anyone()})}});
    CHECK(result == Judgement{false, Reason::policy_denied, "ns/deny"});
    CHECK(result.text() == "explicitly denied by: ns/deny");
}

TEST_CASE("where ALLOW policies exist one of them must match [R-2]") {
    Match other = with([](Match& match) { match.namespaces.any_of = {StringMatch::exact("other")}; });
    Judgement result = judged({{"ns/x", policy(PolicyAction::allow, {other})}});
    CHECK(result == Judgement{false, Reason::policy_denied, {}});
    CHECK(result.text() == "allow policies exist, but none allowed");
    CHECK(judged({{"ns/x", policy(PolicyAction::allow, {other})},
                  {"ns/y", policy(PolicyAction::allow, {anyone()})}}) ==
          Judgement{true, Reason::none, "ns/y"});
    CHECK(judged({{"ns/x", policy(PolicyAction::deny, {other})}}).allowed);
}

TEST_CASE("a dry-run policy neither denies nor makes an ALLOW necessary [R-2]") {
    Policy deny = policy(PolicyAction::deny, {anyone()});
    Policy allow = policy(PolicyAction::allow, {});
    deny.dry_run = allow.dry_run = true;
    CHECK(judged({{"ns/deny", deny}, {"ns/allow", allow}}).allowed);
}

TEST_CASE("policies apply by namespace, everywhere, or where a workload names them [R-1]") {
    auto deny = [](PolicyScope scope, std::string name_space) {
        Policy made = policy(PolicyAction::deny, {anyone()}, scope);
        made.name_space = std::move(name_space);
        return made;
    };
    CHECK_FALSE(judged({{"ns/p", deny(PolicyScope::name_space, "ns")}}).allowed);
    CHECK(judged({{"other/p", deny(PolicyScope::name_space, "other")}}).allowed);
    CHECK_FALSE(judged({{"root/p", deny(PolicyScope::global, "root")}}).allowed);
    CHECK(judged({{"ns/p", deny(PolicyScope::workload_selector, "ns")}}).allowed);
    Workload names =
        pod("a", {"10.0.0.2"}, [](Workload& workload) { workload.authorization_policies = {"x/p"}; });
    CHECK_FALSE(judged({{"x/p", deny(PolicyScope::workload_selector, "x")}}, names).allowed);
}

TEST_CASE("a policy that a workload names and nobody sent refuses everything [R-1]") {
    Workload names =
        pod("a", {"10.0.0.2"}, [](Workload& workload) { workload.authorization_policies = {"x/p"}; });
    Judgement result = judged({{"ns/allow", policy(PolicyAction::allow, {anyone()})}}, names);
    CHECK(result == Judgement{false, Reason::policy_unknown, "x/p"});
    CHECK(result.text() == "refused: unknown policy: x/p");
    CHECK(judged({{"ns/deny", policy(PolicyAction::deny, {anyone()})}}, names).policy == "ns/deny");
}

TEST_CASE("a policy whose scope changes applies by its new scope alone [R-1]") {
    DirectoryWriter writer;
    Policy made = policy(PolicyAction::deny, {anyone()}, PolicyScope::workload_selector);
    WorkloadPtr here = make_record(pod("a", {"10.0.0.2"}));
    auto allowed = [&](const Policy& one) {
        DirectoryPtr known = writer.apply({{}, {}, {{"ns/p", one}}, {}, true, true});
        return judge(*known, *here, connection()).allowed;
    };
    CHECK(allowed(made));
    made.scope = PolicyScope::name_space;
    CHECK_FALSE(allowed(made));
    made.scope = PolicyScope::workload_selector;
    CHECK(allowed(made));
    made.scope = PolicyScope::global;
    CHECK_FALSE(allowed(made));
}

TEST_CASE("before policies have come nothing is concluded from their absence [R-1]") {
    DirectoryWriter writer;
    DirectoryPtr known = writer.apply({{}, {}, {}, {}, true, false});
    Judgement result = judge(*known, *make_record(pod("a", {"10.0.0.2"})), connection());
    CHECK(result == Judgement{false, Reason::not_synced, {}});
}

TEST_CASE("no rules never match, no clauses match, no matches satisfy, an empty match does not [R-5]") {
    Policy made = policy(PolicyAction::allow, {});
    made.rules = {};
    CHECK_FALSE(matches(made, connection()));
    made.rules = {Rule{}};
    CHECK(matches(made, connection()));
    made.rules = {Rule{{Clause{}}}};
    CHECK(matches(made, connection()));
    made.rules = {Rule{{Clause{{Match{}}}}}};
    CHECK_FALSE(matches(made, connection()));
    made.rules = {Rule{{Clause{{Match{}, anyone()}}}}};
    CHECK(matches(made, connection()));
}

TEST_CASE("a policy is an OR over rules, a rule an AND over clauses, a clause an OR over matches [R-4]") {
    Match no = with([](Match& match) { match.destination_ports.any_of = {{1}}; });
    auto clause = [](std::vector<Match> all) { return Clause{std::move(all)}; };
    Policy made = policy(PolicyAction::allow, {});
    made.rules = {Rule{{clause({no})}}, Rule{{clause({anyone()})}}};
    CHECK(matches(made, connection()));
    made.rules = {Rule{{clause({anyone()}), clause({no})}}};
    CHECK_FALSE(matches(made, connection()));
    made.rules = {Rule{{clause({anyone()}), clause({no, anyone()})}}};
    CHECK(matches(made, connection()));
}

TEST_CASE("the fields of a match are ANDed, and so are the halves of a field [R-4]") {
    Match both = with([](Match& match) {
        match.namespaces.any_of = {StringMatch::exact("x"), StringMatch::exact("from")};
        match.destination_ports.any_of = {{8080}};
    });
    CHECK(holds(both));
    both.destination_ports.any_of = {{8081}};
    CHECK_FALSE(holds(both));
    Match halves = with([](Match& match) {
        match.namespaces.any_of = {StringMatch::prefix("fr")};
        match.namespaces.none_of = {StringMatch::exact("from")};
    });
    CHECK_FALSE(holds(halves));
    halves.namespaces.none_of = {StringMatch::exact("else")};
    CHECK(holds(halves));
}

TEST_CASE("each field against a plaintext, the right and another identity [R-6]") {
    struct Row {
        const char* name;
        std::function<void(Match&)> set;
        bool plaintext, mine, other;
    };
    auto text = [](const char* value) { return StringMatch::exact(value); };
    auto row = GENERATE_COPY(values<Row>({
        {"namespaces", [=](Match& m) { m.namespaces.any_of = {text("from")}; }, false, true, false},
        {"not namespaces", [=](Match& m) { m.namespaces.none_of = {text("from")}; }, true, false, true},
        {"principals", [=](Match& m) { m.principals.any_of = {text("td/ns/from/sa/client")}; }, false, true,
         false},
        {"not principals", [=](Match& m) { m.principals.none_of = {text("td/ns/from/sa/client")}; }, true,
         false, true},
        {"with scheme", [=](Match& m) { m.principals.any_of = {text("spiffe://td/ns/from/sa/client")}; },
         false, false, false},
        {"any principal", [=](Match& m) { m.principals.any_of = {StringMatch::presence()}; }, false, true,
         true},
        {"no principal", [=](Match& m) { m.principals.none_of = {StringMatch::presence()}; }, true, false,
         false},
        {"principal prefix", [=](Match& m) { m.principals.any_of = {StringMatch::prefix("")}; }, false, true,
         true},
        {"accounts", [=](Match& m) { m.service_accounts.any_of = {{"from", "client"}}; }, false, true, false},
        {"not accounts", [=](Match& m) { m.service_accounts.none_of = {{"from", "client"}}; }, true, false,
         true},
        {"source ip", [=](Match& m) { m.source_ips.any_of = {{cidr("10.0.0.0/31"), false}}; }, true, true,
         true},
        {"not source ip", [=](Match& m) { m.source_ips.none_of = {{cidr("10.0.0.0/31"), false}}; }, false,
         false, false},
        {"another source ip", [=](Match& m) { m.source_ips.any_of = {{cidr("10.0.0.2"), false}}; }, false,
         false, false},
        {"v6 source ip", [=](Match& m) { m.source_ips.any_of = {{cidr("::/0"), false}}; }, false, false,
         false},
        {"destination ip", [=](Match& m) { m.destination_ips.any_of = {{cidr("10.0.0.2"), false}}; }, true,
         true, true},
        {"not destination ip", [=](Match& m) { m.destination_ips.none_of = {{cidr("10.0.0.2"), false}}; },
         false, false, false},
        {"port", [=](Match& m) { m.destination_ports.any_of = {{8080}}; }, true, true, true},
        {"not port", [=](Match& m) { m.destination_ports.none_of = {{8080}}; }, false, false, false},
        {"another port", [=](Match& m) { m.destination_ports.any_of = {{80}}; }, false, false, false},
    }));
    CAPTURE(row.name);
    Match match = with(row.set);
    CHECK(holds(match, connection(std::nullopt)) == row.plaintext);
    CHECK(holds(match, connection(caller)) == row.mine);
    CHECK(holds(match, connection(Identity{"td", "elsewhere", "other"})) == row.other);
}

TEST_CASE("a service account is matched in whatever trust domain [R-6]") {
    Match match = with([](Match& one) { one.service_accounts.any_of = {{"from", "client"}}; });
    CHECK(holds(match, connection(Identity{"another", "from", "client"})));
}

TEST_CASE("string matches: exact, prefix, suffix, presence [R-7]") {
    struct Row {
        StringMatch match;
        bool holds;
    };
    auto row = GENERATE(values<Row>({{StringMatch::exact("from"), true},
                                     {StringMatch::exact("fro"), false},
                                     {StringMatch::exact(""), false},
                                     {StringMatch::prefix("fr"), true},
                                     {StringMatch::prefix("om"), false},
                                     {StringMatch::prefix("fromm"), false},
                                     {StringMatch::suffix("om"), true},
                                     {StringMatch::suffix("fr"), false},
                                     {StringMatch::presence(), true}}));
    CAPTURE(row.match.value);
    CHECK(holds(with([&](Match& match) { match.namespaces.any_of = {row.match}; })) == row.holds);
    CHECK(holds(with([&](Match& match) { match.namespaces.none_of = {row.match}; })) != row.holds);
}

TEST_CASE("a malformed entry never widens an ALLOW [R-7]") {
    auto field = GENERATE(values<std::function<void(Match&)>>({
        [](Match& match) { match.namespaces.any_of = {StringMatch::malformed()}; },
        [](Match& match) { match.namespaces.none_of = {StringMatch::malformed()}; },
        [](Match& match) { match.principals.any_of = {StringMatch::malformed()}; },
        [](Match& match) { match.principals.none_of = {StringMatch::malformed()}; },
        [](Match& match) { match.source_ips.any_of = {{{}, true}}; },
        [](Match& match) { match.source_ips.none_of = {{{}, true}}; },
        [](Match& match) { match.destination_ips.any_of = {{{}, true}}; },
        [](Match& match) { match.destination_ports.any_of = {{70'000}}; },
        [](Match& match) { match.destination_ports.none_of = {{70'000}}; },
    }));
    CHECK_FALSE(holds(with(field), connection(), PolicyAction::allow));
    CHECK_FALSE(holds(with(field), connection(std::nullopt), PolicyAction::allow));
    CHECK(holds(with(field), connection(), PolicyAction::deny));  // ... nor narrows a DENY
    CHECK(holds(with(field), connection(std::nullopt), PolicyAction::deny));
}

TEST_CASE("a good value beside a malformed one still counts [R-7]") {
    Match match = with(
        [](Match& one) { one.namespaces.any_of = {StringMatch::malformed(), StringMatch::exact("from")}; });
    CHECK(holds(match, connection(), PolicyAction::allow));
    CHECK_FALSE(holds(match, connection(Identity{"td", "other", "x"}), PolicyAction::allow));
}

TEST_CASE("STRICT is a DENY of whoever has no principal, with exceptions by port [R-8]") {
    Match plaintext = with([](Match& match) { match.principals.none_of = {StringMatch::presence()}; });
    Workload names = pod("a", {"10.0.0.2"}, [](Workload& workload) {
        workload.authorization_policies = {"istio-system/istio_converted_static_strict"};
    });
    Policy strict = policy(PolicyAction::deny, {plaintext}, PolicyScope::workload_selector);
    std::vector<NamedPolicy> all{{"istio-system/istio_converted_static_strict", strict}};
    CHECK_FALSE(judged(all, names, connection(std::nullopt)).allowed);
    CHECK(judged(all, names, connection()).allowed);
    // The exemption of a port is a second clause of the same rule (V-7).
    Match elsewhere = with([](Match& match) { match.destination_ports.none_of = {{8080}}; });
    all[0].value.rules = {Rule{{Clause{{plaintext}}, Clause{{elsewhere}}}}};
    CHECK(judged(all, names, connection(std::nullopt)).allowed);
    RbacConnection other_port{ip("10.0.0.1"), {}, at("10.0.0.2:9090")};
    CHECK_FALSE(judged(all, names, other_port).allowed);
}

TEST_CASE("judging agrees with the obvious evaluator on random policies [R-4, R-5, R-6, R-7]") {
    int denied = 0;
    int allowed = 0;
    for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
        SeededRandom random(seed);
        RandomPolicies make(random);
        std::vector<NamedPolicy> policies = make.policies();
        Workload destination = make.destination();
        RbacConnection made = make.connection();
        Judgement result = judge(*directory({}, policies), *make_record(destination), made);
        CAPTURE(seed);
        REQUIRE(result.reason == slow_judge(policies, destination, made));
        REQUIRE(result.allowed == (result.reason == Reason::none));
        ++(result.allowed ? allowed : denied);
    }
    CHECK(denied > 2000);  // both ends of the comparison were really visited
    CHECK(allowed > 2000);
}
