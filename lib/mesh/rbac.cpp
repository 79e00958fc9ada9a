#include "lib/mesh/rbac.h"

#include <algorithm>

namespace culvert::mesh {

namespace {

// One reading of a policy. A malformed entry counts as what makes the policy refuse more: for an ALLOW a
// value that never matches and an exclusion that always does; for a DENY the reverse (deviation from R-7).
class Reading {
public:
    Reading(PolicyAction action, const RbacConnection& connection)
        : malformed_matches_(action == PolicyAction::deny), connection_(connection) {
        if (connection.identity) principal_ = connection.identity->principal();
    }

    bool policy(const Policy& policy) const {
        return std::ranges::any_of(policy.rules, [this](const Rule& one) { return rule(one); });
    }

private:
    bool rule(const Rule& rule) const {
        return std::ranges::all_of(rule.clauses, [this](const Clause& one) {
            auto holds = [this](const Match& inner) { return match(inner); };
            return one.matches.empty() || std::ranges::any_of(one.matches, holds);
        });
    }

    bool match(const Match& match) const {
        if (match.empty()) return false;
        const std::string& name_space = connection_.identity ? connection_.identity->name_space : no_text_;
        auto text_is = [](std::string_view text) {
            return
                [text](const StringMatch& one, bool malformed) { return matches_text(one, text, malformed); };
        };
        auto ip_is = [](Ip ip) {
            return [ip](const IpMatch& one, bool malformed) {
                return one.malformed ? malformed : one.range.contains(ip);
            };
        };
        auto account_is = [this](const ServiceAccountMatch& one, bool) {
            return connection_.identity && connection_.identity->name_space == one.name_space &&
                   connection_.identity->service_account == one.service_account;
        };
        auto port_is = [this](const PortMatch& one, bool malformed) {
            return one.malformed() ? malformed : one.port == connection_.destination.port;
        };
        return field(match.namespaces, text_is(name_space)) && principals(match.principals) &&
               field(match.service_accounts, account_is) &&
               field(match.source_ips, ip_is(connection_.source)) &&
               field(match.destination_ips, ip_is(connection_.destination.ip)) &&
               field(match.destination_ports, port_is);
    }

    // without an identity no string match on principals succeeds, not even presence.
    bool principals(const Field<StringMatch>& principals) const {
        return field(principals, [this](const StringMatch& one, bool malformed) {
            if (one.kind == StringMatch::Kind::malformed) return malformed;
            return connection_.identity.has_value() && matches_text(one, principal_, malformed);
        });
    }

    // `is` gets a value and what a malformed one counts as.
    template <class T, class Is> bool field(const Field<T>& field, Is is) const {
        auto in = [&](const T& one) { return is(one, malformed_matches_); };
        auto out = [&](const T& one) { return is(one, !malformed_matches_); };
        return (field.any_of.empty() || std::ranges::any_of(field.any_of, in)) &&
               std::ranges::none_of(field.none_of, out);
    }

    static bool matches_text(const StringMatch& match, std::string_view text, bool malformed) {
        switch (match.kind) {
        case StringMatch::Kind::exact: return text == match.value;
        case StringMatch::Kind::prefix: return text.starts_with(match.value);
        case StringMatch::Kind::suffix: return text.ends_with(match.value);
        case StringMatch::Kind::presence: return !text.empty();
        case StringMatch::Kind::malformed: break;
        }
        return malformed;
    }

    bool malformed_matches_;
    const RbacConnection& connection_;
    std::string principal_;
    std::string no_text_;
};

// Goes through the policies that apply in the order of R-2 and stops at nothing but a DENY that
// matches.
class Judge {
public:
    explicit Judge(const RbacConnection& connection) : connection_(connection) {}

    void hear(const PolicyPtr& policy) {
        if (policy->value.dry_run || denied_by_) return;
        bool deny = policy->value.action == PolicyAction::deny;
        if (!deny) allow_exists_ = true;
        if (!deny && allowed_by_) return;
        if (!matches(policy->value, connection_)) return;
        (deny ? denied_by_ : allowed_by_) = policy;
    }
    void missing(const std::string& key) {
        if (unknown_.empty()) unknown_ = key;
    }

    Judgement verdict() const {
        if (denied_by_) return {false, Reason::policy_denied, denied_by_->key};
        if (!unknown_.empty()) return {false, Reason::policy_unknown, unknown_};
        if (allowed_by_) return {true, Reason::none, allowed_by_->key};
        if (allow_exists_) return {false, Reason::policy_denied, {}};
        return {true, Reason::none, {}};
    }

private:
    const RbacConnection& connection_;
    PolicyPtr denied_by_;
    PolicyPtr allowed_by_;
    bool allow_exists_ = false;
    std::string unknown_;
};

}  // namespace

bool matches(const Policy& policy, const RbacConnection& connection) {
    return Reading(policy.action, connection).policy(policy);
}

Judgement judge(const Directory& directory, const WorkloadRecord& destination,
                const RbacConnection& connection) {
    if (!directory.synced().policies) return {false, Reason::not_synced, {}};
    Judge judge(connection);
    auto hear = [&](const PolicyPtr& policy) { judge.hear(policy); };
    directory.for_each_namespace_policy(destination->name_space, hear);
    directory.for_each_global_policy(hear);
    for (const std::string& key : destination->authorization_policies) {
        PolicyPtr policy = directory.policy(key);
        if (policy) {
            judge.hear(policy);
        } else {
            judge.missing(key);
        }
    }
    return judge.verdict();
}

std::string Judgement::text() const {
    if (allowed) return policy.empty() ? "allowed: no policy refuses" : "explicitly allowed by: " + policy;
    if (reason == Reason::policy_unknown) return "refused: unknown policy: " + policy;
    if (reason == Reason::not_synced) return "refused: policies have not arrived yet";
    return policy.empty() ? "allow policies exist, but none allowed" : "explicitly denied by: " + policy;
}

}  // namespace culvert::mesh
