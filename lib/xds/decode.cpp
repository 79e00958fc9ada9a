// From the bytes of a resource to a mesh value: everything that is refused is refused here
// (wire.md 5.3, 5.4).
#include "lib/xds/resources.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <utility>

namespace culvert::xds {

namespace {

namespace wire = istio::workload;
namespace policy_wire = istio::security;

std::unexpected<Error> bad(std::string text) { return refuse(Reason::bad_input, std::move(text)); }
std::unexpected<Error> unknown(std::string_view what, int value) {
    return bad("unknown " + std::string(what) + " " + std::to_string(value));
}

Result<Ip> ip(const std::string& bytes) {
    if (auto ip = Ip::from_bytes(as_bytes(bytes))) return *ip;
    return bad("an address of " + std::to_string(bytes.size()) + " bytes");
}

Result<std::uint16_t> port(std::uint32_t number) {
    if (number > 65535) return bad("port " + std::to_string(number) + " is above 65535");
    return static_cast<std::uint16_t>(number);
}

Result<mesh::GatewayAddress> gateway(const wire::GatewayAddress& from) {
    mesh::GatewayAddress to;
    TRY(to.hbone_mtls_port, port(from.hbone_mtls_port()));
    switch (from.destination_case()) {
    case wire::GatewayAddress::kHostname:
        to.destination = mesh::ServiceKey{from.hostname().namespace_(), from.hostname().hostname()};
        return to;
    case wire::GatewayAddress::kAddress: {
        TRY(Ip at, ip(from.address().address()));
        to.destination = mesh::NetworkAddress{from.address().network(), at};
        return to;
    }
    case wire::GatewayAddress::DESTINATION_NOT_SET: break;
    }
    return bad("a gateway address without destination");
}

template <class List> Result<mesh::Ports> ports(const List& from) {
    mesh::Ports to;
    to.reserve(static_cast<std::size_t>(from.size()));
    for (const wire::Port& each : from) {
        TRY(std::uint16_t service_port, port(each.service_port()));
        TRY(std::uint16_t target_port, port(each.target_port()));
        // Not read by a node proxy, so a value of a newer controller is no reason to refuse the service.
        to.push_back({service_port, target_port, static_cast<std::uint8_t>(each.app_protocol())});
    }
    return to;
}

Result<mesh::Vip> vip(const wire::NetworkAddress& from) {
    TRY(Ip at, ip(from.address()));
    std::uint32_t full = at.is_v4() ? 32 : 128;
    std::uint32_t length = from.has_length() ? from.length() : full;
    auto range = mesh::Vip{from.network(), {}};
    auto cidr = Cidr::make(at, length);
    if (!cidr) return bad("a prefix of " + std::to_string(length) + " bits");
    range.range = *cidr;
    return range;
}

Result<Done> numbers(const wire::Workload& from, mesh::Workload& to) {
    switch (from.tunnel_protocol()) {
    case wire::NONE: to.tunnel_protocol = mesh::TunnelProtocol::none; break;
    case wire::HBONE: to.tunnel_protocol = mesh::TunnelProtocol::hbone; break;
    case wire::LEGACY_ISTIO_MTLS: return bad("tunnel protocol LEGACY_ISTIO_MTLS is not supported");
    default: return unknown("tunnel protocol", from.tunnel_protocol());
    }
    if (!wire::WorkloadType_IsValid(from.workload_type()))
        return unknown("workload type", from.workload_type());
    to.type = static_cast<mesh::WorkloadType>(from.workload_type());
    if (!wire::WorkloadStatus_IsValid(from.status())) return unknown("status", from.status());
    to.health = static_cast<mesh::Health>(from.status());
    if (!wire::NetworkMode_IsValid(from.network_mode())) return unknown("network mode", from.network_mode());
    to.network_mode = static_cast<mesh::NetworkMode>(from.network_mode());
    if (from.has_capacity()) to.capacity = from.capacity().value();
    return Done{};
}

Result<Done> references(const wire::Workload& from, mesh::Workload& to) {
    for (const std::string& each : from.addresses()) {
        TRY(Ip at, ip(each));
        to.addresses.push_back(at);
    }
    if (from.has_waypoint()) {
        TRY(to.waypoint, gateway(from.waypoint()));
    }
    if (from.has_network_gateway()) {
        TRY(to.network_gateway, gateway(from.network_gateway()));
    }
    for (const auto& [name, list] : from.services()) {
        auto key = mesh::ServiceKey::parse(name);
        if (!key) return bad("service " + name + " is not namespace/hostname");
        TRY(mesh::Ports of, ports(list.ports()));
        to.services.emplace(std::move(*key), std::move(of));
    }
    if (from.has_application_tunnel()) {
        const auto& tunnel = from.application_tunnel();
        if (!wire::ApplicationTunnel::Protocol_IsValid(tunnel.protocol()))
            return unknown("application tunnel protocol", tunnel.protocol());
        TRY(std::uint16_t at, port(tunnel.port()));
        to.application_tunnel = {static_cast<mesh::ApplicationTunnel::Protocol>(tunnel.protocol()), at};
    }
    return Done{};
}

Result<AddressValue> workload(const wire::Workload& from) {
    mesh::Workload to;
    if (from.uid().empty()) return bad("a workload without uid");
    to.uid = from.uid();
    to.name = from.name();
    to.name_space = from.namespace_();
    to.hostname = from.hostname();
    to.network = from.network();
    if (!from.trust_domain().empty()) to.trust_domain = from.trust_domain();
    if (!from.service_account().empty()) to.service_account = from.service_account();
    if (!from.cluster_id().empty()) to.cluster_id = from.cluster_id();
    to.node = from.node();
    to.canonical_name = from.canonical_name();
    to.canonical_revision = from.canonical_revision();
    to.workload_name = from.workload_name();
    to.native_tunnel = from.native_tunnel();
    to.authorization_policies.assign(from.authorization_policies().begin(),
                                     from.authorization_policies().end());
    to.locality = {from.locality().region(), from.locality().zone(), from.locality().subzone()};
    TRY_DONE(numbers(from, to));
    TRY_DONE(references(from, to));
    return to;
}

Result<mesh::LoadBalancing> balancing(const wire::LoadBalancing& from) {
    mesh::LoadBalancing to;
    for (int scope : from.routing_preference()) {
        if (scope == 0 || !wire::LoadBalancing::Scope_IsValid(scope))
            return unknown("routing preference", scope);
        to.preferences.push_back(static_cast<mesh::LoadBalancingScope>(scope));
    }
    if (!wire::LoadBalancing::Mode_IsValid(from.mode())) return unknown("load balancing mode", from.mode());
    to.mode = static_cast<mesh::LoadBalancingMode>(from.mode());
    if (!wire::LoadBalancing::HealthPolicy_IsValid(from.health_policy()))
        return unknown("health policy", from.health_policy());
    to.health = static_cast<mesh::HealthPolicy>(from.health_policy());
    return to;
}

Result<AddressValue> service(const wire::Service& from) {
    mesh::Service to;
    to.name = from.name();
    to.name_space = from.namespace_();
    to.hostname = from.hostname();
    if (to.hostname.empty() || !mesh::ServiceKey::parse(to.key().to_string()))
        return bad("service " + to.key().to_string() + " is not namespace/hostname");
    for (const auto& each : from.addresses()) {
        TRY(mesh::Vip of, vip(each));
        to.vips.push_back(std::move(of));
    }
    TRY(to.ports, ports(from.ports()));
    to.subject_alt_names.assign(from.subject_alt_names().begin(), from.subject_alt_names().end());
    if (from.has_waypoint()) {
        TRY(to.waypoint, gateway(from.waypoint()));
    }
    for (const auto& each : from.weighted_waypoints()) {
        TRY(mesh::GatewayAddress at, gateway(each.destination()));
        to.weighted_waypoints.push_back({std::move(at), each.weight()});
    }
    TRY(to.balancing, balancing(from.load_balancing()));
    if (!wire::IPFamilies_IsValid(from.ip_families())) return unknown("address families", from.ip_families());
    to.ip_families = static_cast<mesh::IpFamilies>(from.ip_families());
    to.canonical = from.canonical();
    to.ingress_use_waypoint = from.ingress_use_waypoint();
    // O-29: an unknown visibility is everyone.
    to.visibility =
        from.visibility() == wire::NAMESPACE ? mesh::Visibility::name_space : mesh::Visibility::everyone;
    return to;
}

mesh::StringMatch string_match(const policy_wire::StringMatch& from) {
    switch (from.match_type_case()) {
    case policy_wire::StringMatch::kExact: return mesh::StringMatch::exact(from.exact());
    case policy_wire::StringMatch::kPrefix: return mesh::StringMatch::prefix(from.prefix());
    case policy_wire::StringMatch::kSuffix: return mesh::StringMatch::suffix(from.suffix());
    case policy_wire::StringMatch::kPresence: return mesh::StringMatch::presence();
    case policy_wire::StringMatch::MATCH_TYPE_NOT_SET: break;
    }
    return mesh::StringMatch::malformed();
}

mesh::IpMatch ip_match(const policy_wire::Address& from) {
    auto at = Ip::from_bytes(as_bytes(from.address()));
    auto range = at ? Cidr::make(*at, from.length()) : std::nullopt;
    if (!range) return {{}, true};
    return {*range, false};
}

mesh::ServiceAccountMatch account_match(const policy_wire::ServiceAccountMatch& from) {
    return {from.namespace_(), from.service_account()};
}

mesh::PortMatch port_match(std::uint32_t from) { return {from}; }

template <class T, class List, class Convert>
mesh::Field<T> field(const List& any_of, const List& none_of, Convert convert) {
    mesh::Field<T> to;
    for (const auto& each : any_of) to.any_of.push_back(convert(each));
    for (const auto& each : none_of) to.none_of.push_back(convert(each));
    return to;
}

mesh::Match match(const policy_wire::Match& from) {
    mesh::Match to;
    to.namespaces = field<mesh::StringMatch>(from.namespaces(), from.not_namespaces(), string_match);
    to.principals = field<mesh::StringMatch>(from.principals(), from.not_principals(), string_match);
    to.service_accounts =
        field<mesh::ServiceAccountMatch>(from.service_accounts(), from.not_service_accounts(), account_match);
    to.source_ips = field<mesh::IpMatch>(from.source_ips(), from.not_source_ips(), ip_match);
    to.destination_ips = field<mesh::IpMatch>(from.destination_ips(), from.not_destination_ips(), ip_match);
    to.destination_ports =
        field<mesh::PortMatch>(from.destination_ports(), from.not_destination_ports(), port_match);
    return to;
}

}  // namespace

Result<AddressValue> decode_address(std::string_view body) {
    wire::Address from;
    if (!from.ParseFromArray(body.data(), static_cast<int>(body.size()))) return bad("does not parse");
    switch (from.type_case()) {
    case wire::Address::kWorkload: return workload(from.workload());
    case wire::Address::kService: return service(from.service());
    case wire::Address::TYPE_NOT_SET: break;
    }
    return bad("neither workload nor service");
}

Result<mesh::Policy> decode_policy(std::string_view body) {
    policy_wire::Authorization from;
    if (!from.ParseFromArray(body.data(), static_cast<int>(body.size()))) return bad("does not parse");
    if (!policy_wire::Scope_IsValid(from.scope())) return unknown("scope", from.scope());
    if (!policy_wire::Action_IsValid(from.action())) return unknown("action", from.action());
    mesh::Policy to;
    to.name = from.name();
    to.name_space = from.namespace_();
    to.scope = static_cast<mesh::PolicyScope>(from.scope());
    to.action = static_cast<mesh::PolicyAction>(from.action());
    to.dry_run = from.dry_run();
    for (const auto& group : from.groups()) {
        mesh::Rule& rule = to.rules.emplace_back();
        for (const auto& rules : group.rules()) {
            mesh::Clause& clause = rule.clauses.emplace_back();
            for (const auto& each : rules.matches()) clause.matches.push_back(match(each));
        }
    }
    return to;
}

}  // namespace culvert::xds
