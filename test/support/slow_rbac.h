// The obvious evaluator of policies, to compare lib/mesh/rbac with: it writes out as three-valued
// logic over explicit lists, asks every value of every field, and is told nothing about short cuts. For tests
// and fuzzing only.
#pragma once
#include "lib/mesh/rbac.h"

#include <vector>

namespace culvert::mesh::test {

enum class Truth : std::uint8_t { no, malformed, yes };

inline Truth slow_text(const StringMatch& match, const std::string& text, bool there) {
    using Kind = StringMatch::Kind;
    if (match.kind == Kind::malformed) return Truth::malformed;
    bool holds = false;
    if (match.kind == Kind::exact) holds = text.compare(match.value) == 0;
    if (match.kind == Kind::prefix) holds = text.substr(0, match.value.size()) == match.value;
    if (match.kind == Kind::suffix)
        holds =
            text.size() >= match.value.size() && text.substr(text.size() - match.value.size()) == match.value;
    if (match.kind == Kind::presence) holds = !text.empty();
    return there && holds ? Truth::yes : Truth::no;
}

// Bit by bit.
inline Truth slow_ip(const IpMatch& match, Ip ip) {
    if (match.malformed) return Truth::malformed;
    ConstBytes wanted = match.range.base.wire();
    ConstBytes is = ip.wire();
    if (wanted.size() != is.size()) return Truth::no;
    for (unsigned bit = 0; bit < match.range.length; ++bit) {
        auto at = [bit](ConstBytes bytes) {
            return (std::to_integer<unsigned>(bytes[bit / 8]) >> (7 - bit % 8)) & 1;
        };
        if (at(wanted) != at(is)) return Truth::no;
    }
    return Truth::yes;
}

// What one field says, from the answers of its values: as we deviate from it.
inline bool slow_field(const std::vector<Truth>& any_of, const std::vector<Truth>& none_of,
                       PolicyAction action) {
    bool positive = any_of.empty();
    for (Truth one : any_of) {
        if (one == Truth::yes) positive = true;
        if (one == Truth::malformed && action == PolicyAction::deny) positive = true;
    }
    bool negative = false;
    for (Truth one : none_of) {
        if (one == Truth::yes) negative = true;
        if (one == Truth::malformed && action == PolicyAction::allow) negative = true;
    }
    return positive && !negative;
}

template <class T, class Is> bool slow_ask(const Field<T>& field, PolicyAction action, Is is) {
    std::vector<Truth> any_of;
    std::vector<Truth> none_of;
    for (const T& one : field.any_of) any_of.push_back(is(one));
    for (const T& one : field.none_of) none_of.push_back(is(one));
    return slow_field(any_of, none_of, action);
}

inline bool slow_match(const Match& match, PolicyAction action, const RbacConnection& connection) {
    if (match == Match{}) return false;
    bool known = connection.identity.has_value();
    std::string name_space = known ? connection.identity->name_space : "";
    std::string principal = known ? connection.identity->to_string().substr(9) : "";
    std::vector<bool> fields{
        slow_ask(match.namespaces, action,
                 [&](const StringMatch& one) { return slow_text(one, name_space, true); }),
        slow_ask(match.principals, action,
                 [&](const StringMatch& one) { return slow_text(one, principal, known); }),
        slow_ask(match.service_accounts, action,
                 [&](const ServiceAccountMatch& one) {
                     bool same = known && one.name_space == name_space &&
                                 one.service_account == connection.identity->service_account;
                     return same ? Truth::yes : Truth::no;
                 }),
        slow_ask(match.source_ips, action,
                 [&](const IpMatch& one) { return slow_ip(one, connection.source); }),
        slow_ask(match.destination_ips, action,
                 [&](const IpMatch& one) { return slow_ip(one, connection.destination.ip); }),
        slow_ask(match.destination_ports, action, [&](const PortMatch& one) {
            if (one.port > 65535) return Truth::malformed;
            return one.port == connection.destination.port ? Truth::yes : Truth::no;
        })};
    for (bool holds : fields)
        if (!holds) return false;
    return true;
}

inline bool slow_matches(const Policy& policy, const RbacConnection& connection) {
    for (const Rule& rule : policy.rules) {
        std::size_t satisfied = 0;
        for (const Clause& clause : rule.clauses) {
            bool holds = clause.matches.empty();
            for (const Match& match : clause.matches)
                holds = slow_match(match, policy.action, connection) || holds;
            if (holds) ++satisfied;
        }
        if (satisfied == rule.clauses.size()) return true;
    }
    return false;
}

// over a plain list of all policies.
inline Reason slow_judge(const std::vector<NamedPolicy>& policies, const Workload& destination,
                         const RbacConnection& connection) {
    std::vector<const Policy*> applicable;
    bool unknown = false;
    for (const NamedPolicy& named : policies) {
        if (named.value.scope == PolicyScope::global) applicable.push_back(&named.value);
        if (named.value.scope == PolicyScope::name_space && named.value.name_space == destination.name_space)
            applicable.push_back(&named.value);
    }
    for (const std::string& key : destination.authorization_policies) {
        bool found = false;
        for (const NamedPolicy& named : policies)
            if (named.key == key) {
                found = true;
                applicable.push_back(&named.value);
            }
        if (!found) unknown = true;
    }
    bool allows = false;
    bool allowed = false;
    for (const Policy* policy : applicable) {
        if (policy->dry_run) continue;
        bool holds = slow_matches(*policy, connection);
        if (policy->action == PolicyAction::deny && holds) return Reason::policy_denied;
        if (policy->action == PolicyAction::allow) {
            allows = true;
            allowed = allowed || holds;
        }
    }
    if (unknown) return Reason::policy_unknown;
    return allows && !allowed ? Reason::policy_denied : Reason::none;
}

}  // namespace culvert::mesh::test
