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

// One clause for all `to`, one for all `from`, one for each `when`; in a clause one match an element.
mesh::Rule convert(const kube::PolicyRule& rule, const std::string& own_namespace, Beyond& beyond) {
    mesh::Rule out;
    mesh::Clause to, from;
    for (const auto& one : rule.to) to.matches.push_back(operation_match(one, beyond));
    for (const auto& one : rule.from) from.matches.push_back(source_match(one, own_namespace, beyond));
    if (!to.matches.empty()) out.clauses.push_back(std::move(to));
    if (!from.matches.empty()) out.clauses.push_back(std::move(from));
    for (const auto& one : rule.when) out.clauses.push_back({{condition_match(one, beyond)}});
    return out;
}

// A clause whose matches are all empty never matches, and then neither does its rule.
bool can_match(const mesh::Rule& rule) {
    for (const mesh::Clause& clause : rule.clauses) {
        bool any = clause.matches.empty();
        for (const mesh::Match& match : clause.matches) any = any || !match.empty();
        if (!any) return false;
    }
    return true;
}

PolicyNote rule_note(const kube::AuthorizationPolicy& from, std::size_t at, const mesh::Rule& rule,
                     const Beyond& beyond) {
    PolicyNote out{"spec.rules[" + std::to_string(at) + "]",
                   {},
                   "enforce it at a waypoint with targetRefs",
                   from.rules[at].line};
    const std::string needs = "needs what a node proxy cannot see (" + beyond.list() + "): ";
    if (from.action == kube::PolicyAction::allow)
        out.message = needs + "the rule is left out, so less is allowed than written";
    else if (can_match(rule))
        out.message = needs + "the rest of the rule is enforced, so more is denied than written";
    else
        out.message = needs + "nothing of the rule is left, it has NO EFFECT";
    return out;
}

const char* action_word(kube::PolicyAction action) {
    return action == kube::PolicyAction::audit ? "AUDIT" : "CUSTOM";
}

}  // namespace

bool by_selector(const kube::AuthorizationPolicy& policy) {
    return policy.selector && !policy.selector->empty();
}

bool is_converted(const kube::AuthorizationPolicy& policy) {
    if (!policy.target_refs.empty()) return false;
    if (policy.action != kube::PolicyAction::allow && policy.action != kube::PolicyAction::deny) return false;
    return value_of(policy.metadata.annotations, "istio.io/dry-run") != "true";
}

ConvertedPolicy authorization_policy(const Mesh& mesh, const kube::AuthorizationPolicy& from) {
    ConvertedPolicy out;
    if (!from.target_refs.empty()) {
        out.notes.push_back(
            {"spec.targetRefs", "needs a waypoint, which this version does not run: NOT ENFORCED", {}, 0});
        return out;
    }
    if (from.action != kube::PolicyAction::allow && from.action != kube::PolicyAction::deny) {
        out.notes.push_back(
            {"spec.action",
             std::string(action_word(from.action)) + " cannot be done by a node proxy: NOT ENFORCED",
             "use ALLOW or DENY, or targetRefs with a waypoint", 0});
        return out;
    }
    if (!is_converted(from)) {
        out.notes.push_back(
            {"metadata.annotations", "is a dry run: NOT ENFORCED", "remove istio.io/dry-run", 0});
        return out;
    }
    mesh::Policy policy;
    policy.name = from.metadata.name;
    policy.name_space = from.metadata.namespace_;
    policy.scope = by_selector(from)                          ? mesh::PolicyScope::workload_selector
                   : policy.name_space == mesh.root_namespace ? mesh::PolicyScope::global
                                                              : mesh::PolicyScope::name_space;
    policy.action =
        from.action == kube::PolicyAction::deny ? mesh::PolicyAction::deny : mesh::PolicyAction::allow;
    for (std::size_t i = 0; i < from.rules.size(); ++i) {
        Beyond beyond;
        mesh::Rule rule = convert(from.rules[i], policy.name_space, beyond);
        if (beyond.any()) out.notes.push_back(rule_note(from, i, rule, beyond));
        if (beyond.any() && from.action == kube::PolicyAction::allow) continue;
        policy.rules.push_back(std::move(rule));
    }
    out.policy = std::move(policy);
    return out;
}

}  // namespace culvert::controller::translate
