// From a mesh value to the bytes of a resource: canonical, so that the version is a hash of them.
#include "lib/xds/resources.h"
#include "lib/xds/wire.h"
#include "proto/authorization.pb.h"
#include "proto/workload.pb.h"

#include <xxhash.h>

#include <charconv>

namespace culvert::xds {

namespace {

namespace wire = istio::workload;
namespace policy_wire = istio::security;

std::string bytes_of(Ip ip) { return std::string(as_text(ip.wire())); }

void put(const mesh::GatewayAddress& from, wire::GatewayAddress& to) {
    if (const auto* key = std::get_if<mesh::ServiceKey>(&from.destination)) {
        to.mutable_hostname()->set_namespace_(key->name_space);
        to.mutable_hostname()->set_hostname(key->hostname);
    } else {
        const auto& address = std::get<mesh::NetworkAddress>(from.destination);
        to.mutable_address()->set_network(address.network);
        to.mutable_address()->set_address(bytes_of(address.ip));
    }
    to.set_hbone_mtls_port(from.hbone_mtls_port);
}

void put(const mesh::Port& from, wire::Port& to) {
    to.set_service_port(from.service_port);
    to.set_target_port(from.target_port);
    to.set_app_protocol(from.app_protocol);
}

void put(const mesh::Workload& from, wire::Workload& to) {
    to.set_uid(from.uid);
    to.set_name(from.name);
    to.set_namespace_(from.name_space);
    for (Ip ip : from.addresses) to.add_addresses(bytes_of(ip));
    to.set_hostname(from.hostname);
    to.set_network(from.network);
    to.set_tunnel_protocol(from.tunnel_protocol == mesh::TunnelProtocol::hbone ? wire::HBONE : wire::NONE);
    if (from.trust_domain != "cluster.local") to.set_trust_domain(from.trust_domain);
    to.set_service_account(from.service_account);
    if (from.waypoint) put(*from.waypoint, *to.mutable_waypoint());
    if (from.network_gateway) put(*from.network_gateway, *to.mutable_network_gateway());
    to.set_node(from.node);
    to.set_canonical_name(from.canonical_name);
    to.set_canonical_revision(from.canonical_revision);
    to.set_workload_type(static_cast<wire::WorkloadType>(from.type));
    to.set_workload_name(from.workload_name);
    to.set_native_tunnel(from.native_tunnel);
    for (const std::string& key : from.authorization_policies) to.add_authorization_policies(key);
    to.set_status(static_cast<wire::WorkloadStatus>(from.health));
    to.set_cluster_id(from.cluster_id);
    for (const auto& [key, ports] : from.services) {
        auto& list = (*to.mutable_services())[key.to_string()];
        for (const mesh::Port& port : ports) put(port, *list.add_ports());
    }
    if (from.application_tunnel) {
        to.mutable_application_tunnel()->set_protocol(
            static_cast<wire::ApplicationTunnel::Protocol>(from.application_tunnel->protocol));
        to.mutable_application_tunnel()->set_port(from.application_tunnel->port);
    }
    if (from.locality != mesh::Locality{}) {
        to.mutable_locality()->set_region(from.locality.region);
        to.mutable_locality()->set_zone(from.locality.zone);
        to.mutable_locality()->set_subzone(from.locality.subzone);
    }
    to.set_network_mode(static_cast<wire::NetworkMode>(from.network_mode));
    if (from.capacity != 1) to.mutable_capacity()->set_value(from.capacity);
}

void put(const mesh::Service& from, wire::Service& to) {
    to.set_name(from.name);
    to.set_namespace_(from.name_space);
    to.set_hostname(from.hostname);
    for (const mesh::Vip& vip : from.vips) {
        auto& address = *to.add_addresses();
        address.set_network(vip.network);
        address.set_address(bytes_of(vip.range.base));
        if (!vip.exact()) address.set_length(vip.range.length);
    }
    for (const mesh::Port& port : from.ports) put(port, *to.add_ports());
    for (const std::string& san : from.subject_alt_names) to.add_subject_alt_names(san);
    if (from.waypoint) put(*from.waypoint, *to.mutable_waypoint());
    for (const mesh::WeightedWaypoint& each : from.weighted_waypoints) {
        auto& waypoint = *to.add_weighted_waypoints();
        put(each.destination, *waypoint.mutable_destination());
        waypoint.set_weight(each.weight);
    }
    if (from.balancing != mesh::LoadBalancing{}) {
        auto& balancing = *to.mutable_load_balancing();
        for (mesh::LoadBalancingScope scope : from.balancing.preferences)
            balancing.add_routing_preference(static_cast<wire::LoadBalancing::Scope>(scope));
        balancing.set_mode(static_cast<wire::LoadBalancing::Mode>(from.balancing.mode));
        balancing.set_health_policy(static_cast<wire::LoadBalancing::HealthPolicy>(from.balancing.health));
    }
    to.set_ip_families(static_cast<wire::IPFamilies>(from.ip_families));
    to.set_canonical(from.canonical);
    to.set_ingress_use_waypoint(from.ingress_use_waypoint);
    to.set_visibility(static_cast<wire::Visibility>(from.visibility));
}

void put(const mesh::StringMatch& from, policy_wire::StringMatch& to) {
    switch (from.kind) {
    case mesh::StringMatch::Kind::exact: to.set_exact(from.value); break;
    case mesh::StringMatch::Kind::prefix: to.set_prefix(from.value); break;
    case mesh::StringMatch::Kind::suffix: to.set_suffix(from.value); break;
    case mesh::StringMatch::Kind::presence: to.mutable_presence(); break;
    case mesh::StringMatch::Kind::malformed: break;
    }
}

void put(const mesh::IpMatch& from, policy_wire::Address& to) {
    if (from.malformed) return;  // an address of no bytes is malformed to every reader
    to.set_address(bytes_of(from.range.base));
    to.set_length(from.range.length);
}

void put(const mesh::ServiceAccountMatch& from, policy_wire::ServiceAccountMatch& to) {
    to.set_namespace_(from.name_space);
    to.set_service_account(from.service_account);
}

template <class T, class Add> void put_all(const std::vector<T>& from, Add add) {
    for (const T& each : from) put(each, *add());
}

void put(const mesh::Match& from, policy_wire::Match& to) {
    put_all(from.namespaces.any_of, [&] { return to.add_namespaces(); });
    put_all(from.namespaces.none_of, [&] { return to.add_not_namespaces(); });
    put_all(from.principals.any_of, [&] { return to.add_principals(); });
    put_all(from.principals.none_of, [&] { return to.add_not_principals(); });
    put_all(from.source_ips.any_of, [&] { return to.add_source_ips(); });
    put_all(from.source_ips.none_of, [&] { return to.add_not_source_ips(); });
    put_all(from.destination_ips.any_of, [&] { return to.add_destination_ips(); });
    put_all(from.destination_ips.none_of, [&] { return to.add_not_destination_ips(); });
    for (mesh::PortMatch each : from.destination_ports.any_of) to.add_destination_ports(each.port);
    for (mesh::PortMatch each : from.destination_ports.none_of) to.add_not_destination_ports(each.port);
    put_all(from.service_accounts.any_of, [&] { return to.add_service_accounts(); });
    put_all(from.service_accounts.none_of, [&] { return to.add_not_service_accounts(); });
}

ResourcePtr finish(Resource resource, std::string_view body) {
    resource.version = content_version(body);
    resource.chunk = resource_chunk(resource, body);
    return std::make_shared<const Resource>(std::move(resource));
}

}  // namespace

std::string content_version(std::string_view body) {
    char digits[16];
    auto end = std::to_chars(digits, digits + sizeof digits, XXH64(body.data(), body.size(), 0), 16).ptr;
    return {digits, end};
}

std::string name_of(const mesh::Workload& value) { return value.uid; }
std::string name_of(const mesh::Service& value) { return value.key().to_string(); }
std::string name_of(const mesh::Policy& value) { return value.name_space + "/" + value.name; }

std::string body_of(const mesh::Workload& value) {
    wire::Address address;
    put(value, *address.mutable_workload());
    return canonical(address);
}

std::string body_of(const mesh::Service& value) {
    wire::Address address;
    put(value, *address.mutable_service());
    return canonical(address);
}

std::string body_of(const mesh::Policy& value) {
    policy_wire::Authorization to;
    to.set_name(value.name);
    to.set_namespace_(value.name_space);
    to.set_scope(static_cast<policy_wire::Scope>(value.scope));
    to.set_action(static_cast<policy_wire::Action>(value.action));
    to.set_dry_run(value.dry_run);
    for (const mesh::Rule& rule : value.rules) {
        auto& group = *to.add_groups();
        for (const mesh::Clause& clause : rule.clauses) {
            auto& rules = *group.add_rules();
            for (const mesh::Match& match : clause.matches) put(match, *rules.add_matches());
        }
    }
    return canonical(to);
}

ResourcePtr encode(const mesh::Workload& value) {
    Resource resource;
    resource.type = Type::address;
    resource.name = name_of(value);
    for (Ip ip : value.addresses)
        resource.aliases.push_back(mesh::NetworkAddress{value.network, ip}.to_string());
    for (const auto& [key, ports] : value.services) resource.services.push_back(key.to_string());
    resource.node = value.node;
    return finish(std::move(resource), body_of(value));
}

ResourcePtr encode(const mesh::Service& value) {
    Resource resource;
    resource.type = Type::address;
    resource.name = name_of(value);
    for (const mesh::Vip& vip : value.vips) resource.aliases.push_back(vip.to_string());
    return finish(std::move(resource), body_of(value));
}

ResourcePtr encode(const mesh::Policy& value) {
    Resource resource;
    resource.type = Type::authorization;
    resource.name = name_of(value);
    return finish(std::move(resource), body_of(value));
}

}  // namespace culvert::xds
