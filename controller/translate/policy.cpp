#include "controller/translate/policy.h"

#include "controller/translate/service.h"

#include <charconv>
#include <set>

namespace culvert::controller::translate {
namespace {

mesh::StringMatch string_match(const std::string& text) {
    if (text == "*") return mesh::StringMatch::presence();
    if (text.starts_with('*')) return mesh::StringMatch::suffix(text.substr(1));
    if (text.ends_with('*')) return mesh::StringMatch::prefix(text.substr(0, text.size() - 1));
    return mesh::StringMatch::exact(text);
}

mesh::ServiceAccountMatch account_match(const std::string& text, const std::string& own_namespace) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos) return {own_namespace, text};
    return {text.substr(0, slash), text.substr(slash + 1)};
}

mesh::PortMatch port_match(const std::string& text) {
    mesh::PortMatch out{65536};  // what does not parse is malformed, never dropped
    (void)std::from_chars(text.data(), text.data() + text.size(), out.port);
    return out;
}

mesh::IpMatch ip_match(const std::string& text) {
    auto range = Cidr::parse(text);
    return range ? mesh::IpMatch{*range} : mesh::IpMatch{{}, true};
}

template <class T, class From, class F> mesh::Field<T> field(const From& from, F convert) {
    mesh::Field<T> out;
    for (const auto& one : from.any) out.any_of.push_back(convert(one));
    for (const auto& one : from.not_any) out.none_of.push_back(convert(one));
    return out;
}
mesh::Field<mesh::StringMatch> strings(const kube::Values& values) {
    return field<mesh::StringMatch>(values, string_match);
}
mesh::Field<mesh::IpMatch> ranges(const kube::Ranges& values) {
    return field<mesh::IpMatch>(values, [](const Cidr& range) { return mesh::IpMatch{range}; });
}
mesh::Field<mesh::PortMatch> ports(const kube::Ports& values) {
    return field<mesh::PortMatch>(values, [](std::uint16_t port) { return mesh::PortMatch{port}; });
}

// What a rule needs that only HTTP knows, by the names that its author wrote.
class Beyond {
public:
    void look(const kube::Values& values, const char* any, const char* not_any) {
        if (!values.any.empty()) names_.insert(any);
        if (!values.not_any.empty()) names_.insert(not_any);
    }
    void look(const kube::Ranges& values, const char* any, const char* not_any) {
        if (!values.any.empty()) names_.insert(any);
        if (!values.not_any.empty()) names_.insert(not_any);
    }
    void add(const std::string& name) { names_.insert(name); }
    void add(const Beyond& more) { names_.insert(more.names_.begin(), more.names_.end()); }
    bool any() const { return !names_.empty(); }
    std::string list() const {
        std::string out;
        for (const std::string& one : names_) out += (out.empty() ? "" : ", ") + one;
        return out;
    }

private:
    std::set<std::string> names_;
};

mesh::Match operation_match(const kube::PolicyOperation& to, Beyond& beyond) {
    beyond.look(to.hosts, "hosts", "notHosts");
    beyond.look(to.methods, "methods", "notMethods");
    beyond.look(to.paths, "paths", "notPaths");
    mesh::Match out;
    out.destination_ports = ports(to.ports);
    return out;
}

mesh::Match source_match(const kube::PolicySource& from, const std::string& own_namespace, Beyond& beyond) {
    beyond.look(from.request_principals, "requestPrincipals", "notRequestPrincipals");
    beyond.look(from.remote_ip_blocks, "remoteIpBlocks", "notRemoteIpBlocks");
    beyond.look(from.trust_domains, "trustDomains", "notTrustDomains");
    mesh::Match out;
    out.principals = strings(from.principals);
    out.namespaces = strings(from.namespaces);
    out.service_accounts = field<mesh::ServiceAccountMatch>(
        from.service_accounts, [&](const std::string& one) { return account_match(one, own_namespace); });
    out.source_ips = ranges(from.ip_blocks);
    return out;
}

mesh::Match condition_match(const kube::PolicyCondition& when, Beyond& beyond) {
    mesh::Match out;
    if (when.key == "source.ip")
        out.source_ips = field<mesh::IpMatch>(when.values, ip_match);
    else if (when.key == "source.namespace")
        out.namespaces = strings(when.values);
    else if (when.key == "source.principal")
        out.principals = strings(when.values);
    else if (when.key == "destination.ip")
        out.destination_ips = field<mesh::IpMatch>(when.values, ip_match);
    else if (when.key == "destination.port")
        out.destination_ports = field<mesh::PortMatch>(when.values, port_match);
    else
        beyond.add(when.key);
    return out;
}

// A clause as it is written, and whether it lost a match entirely. Such a match would never match;
// where one match is enough for a clause, what it stood for is anything.
struct Draft {
    mesh::Clause clause;
    bool lost = false;
    void add(mesh::Match match, const Beyond& beyond) {
        lost = lost || (beyond.any() && match.empty());
        clause.matches.push_back(std::move(match));
    }
};

struct Converted {
    mesh::Rule rule;
    Beyond beyond;
    bool lost = false;
    void add(Draft draft) {
        lost = lost || draft.lost;
        if (!draft.clause.matches.empty() && !draft.lost) rule.clauses.push_back(std::move(draft.clause));
    }
};

// One clause for all `to`, one for all `from`, one for each `when`; in a clause one match an element. A
// clause that lost a match is left out: the rule matches more than what is written.
Converted convert(const kube::PolicyRule& rule, const std::string& own_namespace) {
    Converted out;
    auto add = [&](Draft& draft, auto&& match_of, const auto& one) {
        Beyond beyond;
        mesh::Match match = match_of(one, beyond);
        draft.add(std::move(match), beyond);
        out.beyond.add(beyond);
    };
    auto source = [&](const kube::PolicySource& one, Beyond& beyond) {
        return source_match(one, own_namespace, beyond);
    };
    Draft to, from;
    for (const auto& one : rule.to) add(to, operation_match, one);
    for (const auto& one : rule.from) add(from, source, one);
    out.add(std::move(to));
    out.add(std::move(from));
    for (const auto& one : rule.when) {
        Draft when;
        add(when, condition_match, one);
        out.add(std::move(when));
    }
    return out;
}

bool is_dry_run(const kube::AuthorizationPolicy& policy) {
    return value_of(policy.metadata.annotations, "istio.io/dry-run") == "true";
}

PolicyNote remark(std::string field, std::string message, std::string fix) {
    return {std::move(field), std::move(message), std::move(fix), 0, kube::Problem::Severity::warning};
}

PolicyNote rule_note(const kube::AuthorizationPolicy& from, std::size_t at, const Converted& converted,
                     bool open) {
    PolicyNote out{"spec.rules[" + std::to_string(at) + "]",
                   "needs what a node proxy cannot see (" + converted.beyond.list() + "): ",
                   "write the rule with ports, sources and namespaces alone", from.rules[at].line,
                   kube::Problem::Severity::error};
    if (from.action == kube::PolicyAction::allow)
        out.message += "the rule is left out, so less is allowed than written";
    else if (converted.lost && open)
        out.message += "the rule is left out (--l7-fail-open): NOT ENFORCED";
    else
        out.message += "the rest of the rule is enforced, so more is denied than written";
    return out;
}

// What a policy is that no node proxy ever gets, and why.
std::optional<PolicyNote> not_for_nodes(const Mesh& mesh, const kube::AuthorizationPolicy& from) {
    if (from.action == kube::PolicyAction::audit)
        return remark("spec.action", "AUDIT cannot be done by a node proxy: NOTHING IS AUDITED",
                      "the access log has every connection");
    if (is_dry_run(from))
        return remark("metadata.annotations", "is a dry run: NOT ENFORCED", "remove istio.io/dry-run");
    if (!from.target_refs.empty())
        return PolicyNote{
            "spec.targetRefs",
            mesh.l7_fail_open
                ? "needs a waypoint, which this version does not run (--l7-fail-open): NOT ENFORCED"
                : "needs a waypoint, which this version does not run: services that it is bound to "
                  "are REFUSED",
            "use a selector, and ports and sources alone", 0, kube::Problem::Severity::error};
    if (from.action == kube::PolicyAction::custom && mesh.l7_fail_open)
        return PolicyNote{"spec.action",
                          "CUSTOM cannot be done by a node proxy (--l7-fail-open): NOT ENFORCED",
                          "use ALLOW or DENY", 0, kube::Problem::Severity::error};
    return {};
}

}  // namespace

bool by_selector(const kube::AuthorizationPolicy& policy) {
    return policy.selector && !policy.selector->empty();
}

bool is_enforced(const kube::AuthorizationPolicy& policy) {
    return policy.action != kube::PolicyAction::audit && !is_dry_run(policy);
}

bool is_converted(const Mesh& mesh, const kube::AuthorizationPolicy& policy) {
    return !not_for_nodes(mesh, policy);
}

ConvertedPolicy authorization_policy(const Mesh& mesh, const kube::AuthorizationPolicy& from) {
    ConvertedPolicy out;
    if (auto why = not_for_nodes(mesh, from)) {
        out.notes.push_back(*std::move(why));
        return out;
    }
    // Whom a provider would be asked about, and there is none to ask: denied.
    if (from.action == kube::PolicyAction::custom)
        out.notes.push_back({"spec.action",
                             "CUSTOM cannot be done by a node proxy: what the policy matches is DENIED",
                             "use ALLOW or DENY", 0, kube::Problem::Severity::error});
    mesh::Policy policy;
    policy.name = from.metadata.name;
    policy.name_space = from.metadata.name_space;
    policy.scope = by_selector(from)                          ? mesh::PolicyScope::workload_selector
                   : policy.name_space == mesh.root_namespace ? mesh::PolicyScope::global
                                                              : mesh::PolicyScope::name_space;
    const bool allows = from.action == kube::PolicyAction::allow;
    policy.action = allows ? mesh::PolicyAction::allow : mesh::PolicyAction::deny;
    for (std::size_t i = 0; i < from.rules.size(); ++i) {
        Converted converted = convert(from.rules[i], policy.name_space);
        const bool beyond = converted.beyond.any();
        if (beyond) out.notes.push_back(rule_note(from, i, converted, mesh.l7_fail_open));
        if (beyond && (allows || (converted.lost && mesh.l7_fail_open))) continue;
        policy.rules.push_back(std::move(converted.rule));
    }
    out.policy = std::move(policy);
    return out;
}

}  // namespace culvert::controller::translate
