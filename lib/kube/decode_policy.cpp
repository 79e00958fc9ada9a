// AuthorizationPolicy and PeerAuthentication with Istio's own checks. A list that is present and empty, or an
// element without content, is an error as in Istio: it would widen or narrow a policy in a way that its
// author hardly meant.
#include "lib/kube/decode.h"

#include <array>
#include <charconv>

namespace culvert::kube {
namespace {

Values values(Fields& fields, std::string_view any, std::string_view not_any) {
    return {fields.texts(any), fields.texts(not_any)};
}
Ranges ranges(Fields& fields, std::string_view any, std::string_view not_any) {
    return {fields.ranges(any), fields.ranges(not_any)};
}

std::uint16_t port_number(std::string_view text) {
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && end == text.data() + text.size() ? port : std::uint16_t{0};
}

PolicySource read_source(Fields& from) {
    if (!from.has("source")) from.error("source", "is missing");
    const std::size_t errors_before = from.problems().errors();
    Fields source = from.map("source");
    PolicySource out;
    out.principals = values(source, "principals", "notPrincipals");
    out.request_principals = values(source, "requestPrincipals", "notRequestPrincipals");
    out.namespaces = values(source, "namespaces", "notNamespaces");
    out.service_accounts = values(source, "serviceAccounts", "notServiceAccounts");
    out.trust_domains = values(source, "trustDomains", "notTrustDomains");
    out.ip_blocks = ranges(source, "ipBlocks", "notIpBlocks");
    out.remote_ip_blocks = ranges(source, "remoteIpBlocks", "notRemoteIpBlocks");
    if (out == PolicySource{} && from.problems().errors() == errors_before)
        from.error("source", "says nothing about the source", "name what must match, or remove it");
    for (const auto* list : {&out.service_accounts.any, &out.service_accounts.not_any})
        for (const std::string& one : *list)
            if (one.find('*') != std::string::npos)
                source.error("serviceAccounts", "cannot hold a wildcard", "use principals for patterns");
    if (!out.service_accounts.empty() && (!out.principals.empty() || !out.namespaces.empty()))
        source.error("serviceAccounts", "cannot stand beside principals or namespaces");
    return out;
}

PolicyOperation read_operation(Fields& to) {
    if (!to.has("operation")) to.error("operation", "is missing");
    const std::size_t errors_before = to.problems().errors();
    Fields operation = to.map("operation");
    PolicyOperation out;
    out.hosts = values(operation, "hosts", "notHosts");
    out.methods = values(operation, "methods", "notMethods");
    out.paths = values(operation, "paths", "notPaths");
    out.ports = {operation.ports_as_texts("ports"), operation.ports_as_texts("notPorts")};
    if (out == PolicyOperation{} && to.problems().errors() == errors_before)
        to.error("operation", "says nothing", "name what must match, or remove it");
    return out;
}

// Keys as Istio knows them; what stands in brackets is free.
bool known_condition(std::string_view key) {
    static constexpr std::array<std::string_view, 14> exact{"source.ip",
                                                            "source.namespace",
                                                            "source.principal",
                                                            "source.serviceAccount",
                                                            "source.trustDomain",
                                                            "remote.ip",
                                                            "destination.ip",
                                                            "destination.port",
                                                            "connection.sni",
                                                            "request.auth.principal",
                                                            "request.auth.audiences",
                                                            "request.auth.presenter",
                                                            "request.headers",
                                                            "request.auth.claims"};
    for (std::string_view one : exact)
        if (key == one) return one != "request.headers" && one != "request.auth.claims";
    return key.starts_with("request.headers[") || key.starts_with("request.auth.claims[") ||
           key.starts_with("experimental.");
}

void check_condition(Fields& when, const PolicyCondition& condition) {
    if (condition.values.empty()) when.error("values", "values or notValues must be given");
    if (!condition.key.empty() && !known_condition(condition.key))
        when.error("key", "\"" + condition.key.substr(0, 64) + "\" is no known condition");
    for (const auto* list : {&condition.values.any, &condition.values.not_any}) {
        for (const std::string& one : *list) {
            if (one.empty()) continue;  // already a problem
            if ((condition.key == "source.ip" || condition.key == "destination.ip" ||
                 condition.key == "remote.ip") &&
                !Cidr::parse(one))
                when.error("values", "\"" + one.substr(0, 64) + "\" is no IP address or range");
            if (condition.key == "destination.port" && port_number(one) == 0)
                when.error("values", "\"" + one.substr(0, 64) + "\" is no port");
        }
    }
}

void check_list(Fields& rule, std::string_view name, bool empty) {
    if (rule.has(name) && empty) rule.error(name, "is empty", "remove it to match everything");
}

PolicyRule read_rule(Fields& rule) {
    PolicyRule out;
    out.line = rule.line();
    rule.list("from", [&](Fields& one) { out.from.push_back(read_source(one)); });
    rule.list("to", [&](Fields& one) { out.to.push_back(read_operation(one)); });
    rule.list("when", [&](Fields& one) {
        PolicyCondition condition{one.required("key"), values(one, "values", "notValues")};
        check_condition(one, condition);
        out.when.push_back(std::move(condition));
    });
    check_list(rule, "from", out.from.empty());
    check_list(rule, "to", out.to.empty());
    return out;
}

ObjectRef read_target(Fields& target) {
    target.known({"group"});
    return {target.required("kind"), target.text("namespace"), target.required("name"), {}};
}

constexpr std::array<std::string_view, 4> modes{"UNSET", "DISABLE", "PERMISSIVE", "STRICT"};
MtlsMode read_mode(Fields mtls) { return static_cast<MtlsMode>(mtls.choice("mode", modes).value_or(0)); }

}  // namespace

Object decode_authorization_policy(Fields& document, Metadata metadata) {
    document.known({"status"});
    AuthorizationPolicy policy;
    policy.metadata = std::move(metadata);
    Fields spec = document.map("spec");
    policy.selector = decode_selector(spec);
    if (spec.has("targetRef")) {
        Fields one = spec.map("targetRef");
        policy.target_refs.push_back(read_target(one));
    }
    spec.list("targetRefs", [&](Fields& one) { policy.target_refs.push_back(read_target(one)); });
    if (policy.selector && !policy.target_refs.empty())
        spec.error("selector", "stands beside targetRefs", "use one of the two");
    static constexpr std::array<std::string_view, 4> actions{"ALLOW", "DENY", "AUDIT", "CUSTOM"};
    policy.action = static_cast<PolicyAction>(spec.choice("action", actions).value_or(0));
    Fields provider = spec.map("provider");
    policy.provider = provider.text("name");
    spec.list("rules", [&](Fields& one) { policy.rules.push_back(read_rule(one)); });
    if (policy.rules.empty() && policy.action == PolicyAction::deny)
        spec.warning("rules", "a DENY policy without rules matches nothing and has no effect",
                     "write rules: [{}] to deny everything");
    return policy;
}

Object decode_peer_authentication(Fields& document, Metadata metadata) {
    document.known({"status"});
    PeerAuthentication policy;
    policy.metadata = std::move(metadata);
    Fields spec = document.map("spec");
    policy.selector = decode_selector(spec);
    policy.mode = read_mode(spec.map("mtls"));
    spec.entries("portLevelMtls", [&](const std::string& key, Fields& one) {
        const auto mode = static_cast<MtlsMode>(one.choice("mode", modes).value_or(0));
        if (const std::uint16_t port = port_number(key))
            policy.port_modes[port] = mode;
        else
            one.problems().error(one.line(), one.path(""), "is no port", "write a number from 1 to 65535");
    });
    if (!policy.port_modes.empty() && (!policy.selector || policy.selector->empty()))
        spec.error("portLevelMtls", "needs a selector", "name the workloads in spec.selector.matchLabels");
    return policy;
}

}  // namespace culvert::kube
