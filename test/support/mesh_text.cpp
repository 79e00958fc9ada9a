#include "test/support/mesh_text.h"

#include <sstream>

namespace culvert::test {
namespace {

using namespace culvert::mesh;

std::string port_text(const Ports& ports) {
    std::string out;
    for (const Port& one : ports) {
        out += " " + std::to_string(one.service_port) + ">" + std::to_string(one.target_port);
        if (one.app_protocol) out += "/" + std::to_string(one.app_protocol);
    }
    return out;
}

std::string match_text(const StringMatch& one) {
    switch (one.kind) {
    case StringMatch::Kind::exact: return one.value;
    case StringMatch::Kind::prefix: return one.value + "*";
    case StringMatch::Kind::suffix: return "*" + one.value;
    case StringMatch::Kind::presence: return "*";
    case StringMatch::Kind::malformed: return "<malformed>";
    }
    return "?";
}
std::string match_text(const IpMatch& one) { return one.malformed ? "<malformed>" : one.range.to_string(); }
std::string match_text(const PortMatch& one) { return std::to_string(one.port); }
std::string match_text(const ServiceAccountMatch& one) { return one.name_space + "/" + one.service_account; }

template <class T> void add_field(std::string& out, const char* name, const Field<T>& field) {
    auto add = [&](const char* before, const std::vector<T>& values) {
        if (values.empty()) return;
        if (!out.empty()) out += " and ";
        out += before;
        out += name;
        for (const T& one : values) out += " " + match_text(one);
    };
    add("", field.any_of);
    add("not ", field.none_of);
}

std::string match_text(const Match& match) {
    std::string out;
    add_field(out, "namespace", match.namespaces);
    add_field(out, "principal", match.principals);
    add_field(out, "account", match.service_accounts);
    add_field(out, "source", match.source_ips);
    add_field(out, "destination", match.destination_ips);
    add_field(out, "port", match.destination_ports);
    return out.empty() ? "nothing" : out;
}

const char* scope_text(LoadBalancingScope scope) {
    static constexpr const char* words[] = {"?", "region", "zone", "subzone", "node", "cluster", "network"};
    return words[static_cast<int>(scope)];
}

}  // namespace

std::string text_of(const Workload& value) {
    std::ostringstream out;
    out << "workload " << value.uid << "\n";
    out << "  of " << value.name_space << "/" << value.name << " as " << value.identity().to_string() << "\n";
    if (!value.addresses.empty()) out << "  at";
    for (const Ip& ip : value.addresses) out << " " << ip.to_string();
    if (!value.addresses.empty()) out << "\n";
    if (!value.hostname.empty()) out << "  hostname " << value.hostname << "\n";
    if (!value.network.empty()) out << "  network " << value.network << "\n";
    if (value.tunnel_protocol == TunnelProtocol::hbone)
        out << "  hbone" << (value.native_tunnel ? " natively" : "") << "\n";
    if (!value.node.empty()) out << "  node " << value.node << "\n";
    if (value.locality != Locality{})
        out << "  locality " << value.locality.region << "/" << value.locality.zone << "/"
            << value.locality.subzone << "\n";
    if (!value.workload_name.empty())
        out << "  called " << value.canonical_name << " " << value.canonical_revision << " of "
            << word(value.type) << " " << value.workload_name << "\n";
    if (value.health == Health::unhealthy) out << "  unhealthy\n";
    if (value.network_mode == NetworkMode::host_network) out << "  host network\n";
    if (value.cluster_id != "Kubernetes") out << "  cluster " << value.cluster_id << "\n";
    if (value.capacity != 1) out << "  capacity " << value.capacity << "\n";
    for (const auto& [key, ports] : value.services)
        out << "  serves " << key.to_string() << port_text(ports) << "\n";
    for (const std::string& policy : value.authorization_policies) out << "  policy " << policy << "\n";
    return out.str();
}

std::string text_of(const Service& value) {
    std::ostringstream out;
    out << "service " << value.key().to_string() << "\n";
    if (!value.hostname.starts_with(value.name + "." + value.name_space + ".svc."))
        out << "  of " << value.name << "\n";
    if (!value.vips.empty()) out << "  at";
    for (const Vip& vip : value.vips) out << " " << vip.to_string();
    if (!value.vips.empty()) out << "\n";
    if (!value.ports.empty()) out << "  ports" << port_text(value.ports) << "\n";
    for (const std::string& san : value.subject_alt_names) out << "  accepts " << san << "\n";
    static constexpr const char* modes[] = {"", "strict", "failover", "passthrough"};
    if (value.balancing.mode != LoadBalancingMode::unspecified) {
        out << "  " << modes[static_cast<int>(value.balancing.mode)];
        for (LoadBalancingScope scope : value.balancing.preferences) out << " " << scope_text(scope);
        out << "\n";
    }
    if (value.balancing.health == HealthPolicy::allow_all) out << "  allow all\n";
    static constexpr const char* families[] = {"", "IPv4 only", "IPv6 only", "dual"};
    if (value.ip_families != IpFamilies::automatic)
        out << "  " << families[static_cast<int>(value.ip_families)] << "\n";
    if (value.canonical) out << "  canonical\n";
    if (value.visibility == Visibility::name_space) out << "  own namespace only\n";
    if (value.waypoint)
        out << "  waypoint " << value.waypoint->destination_text() << " " << value.waypoint->hbone_mtls_port
            << "\n";
    return out.str();
}

std::string text_of(const Policy& value) {
    std::ostringstream out;
    static constexpr const char* scopes[] = {"everywhere", "for the namespace", "for who names it"};
    out << "policy " << value.name_space << "/" << value.name << " "
        << (value.action == PolicyAction::deny ? "denies" : "allows") << " "
        << scopes[static_cast<int>(value.scope)] << "\n";
    for (const Rule& rule : value.rules) {
        out << "  if\n";
        for (const Clause& clause : rule.clauses) {
            out << "    all of";
            bool first = true;
            for (const Match& match : clause.matches)
                out << (std::exchange(first, false) ? " " : " or ") << match_text(match);
            out << "\n";
        }
    }
    return out.str();
}

}  // namespace culvert::test
