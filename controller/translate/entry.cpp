#include "controller/translate/entry.h"

#include "controller/translate/service.h"
#include "controller/translate/workload.h"
#include "lib/mesh/table.h"

#include <algorithm>

namespace culvert::controller::translate {
namespace {

// 240.240.0.1 to 240.240.255.254, and 2001:2::/48 with 64 bits of the name's hash.
Ip automatic_v4(std::uint16_t slot) { return Ip::v4(0xf0f00000u | slot); }
Ip automatic_v6(std::string_view host) {
    std::array<std::byte, 16> bytes{std::byte{0x20}, std::byte{0x01}, std::byte{0x00}, std::byte{0x02}};
    put_big_endian(bytes.data() + 8, mesh::hash_text(host) | 1, 8);  // never the network's own address
    return Ip::v6(bytes);
}

void add_automatic_vips(const Mesh& mesh, const kube::ServiceEntry& entry, const EntryHost& host,
                        mesh::Service& out) {
    bool allocated = false;
    for (const auto& [name, ip] : entry.allocated) {
        if (!name.empty() && name != host.host) continue;
        out.vips.push_back({mesh.network, *Cidr::make(ip, ip.is_v4() ? 32 : 128)});
        allocated = true;
    }
    if (allocated) return;
    if (host.owns_automatic_v4)
        out.vips.push_back({mesh.network, *Cidr::make(automatic_v4(automatic_slot(host.host)), 32)});
    out.vips.push_back({mesh.network, *Cidr::make(automatic_v6(host.host), 128)});
}

// "region/zone/subzone"; what is behind further slashes belongs to the subzone.
mesh::Locality locality(std::string_view text) {
    mesh::Locality out;
    const std::size_t first = text.find('/');
    out.region = text.substr(0, first);
    if (first == std::string_view::npos) return out;
    text.remove_prefix(first + 1);
    const std::size_t second = text.find('/');
    out.zone = text.substr(0, second);
    if (second != std::string_view::npos) out.subzone = text.substr(second + 1);
    return out;
}

}  // namespace

bool wants_automatic_vip(const kube::ServiceEntry& entry, std::string_view host) {
    if (!entry.addresses.empty() || host.starts_with("*.")) return false;
    if (entry.resolution == kube::Resolution::none) return false;
    return value_of(entry.metadata.labels, "networking.istio.io/enable-autoallocate-ip") != "false";
}

std::uint16_t automatic_slot(std::string_view host) {
    return static_cast<std::uint16_t>(1 + mesh::hash_text(host) % 65534);
}

bool hidden(const std::vector<std::string>& export_to) {
    return export_to.size() == 1 && export_to[0] == "~";
}

// The wire knows everyone and the own namespace; a list of other namespaces becomes everyone.
mesh::Visibility visibility_of(const std::vector<std::string>& export_to, std::string_view own_namespace) {
    if (export_to.empty()) return mesh::Visibility::everyone;
    const bool own =
        std::ranges::all_of(export_to, [&](const auto& one) { return one == "." || one == own_namespace; });
    return own ? mesh::Visibility::name_space : mesh::Visibility::everyone;
}

mesh::Port entry_port(const kube::EntryPort& port, std::uint16_t named) {
    const std::uint16_t target = named ? named : port.target ? port.target : port.port;
    return {port.port, target, app_protocol(port.protocol, port.name)};
}

mesh::Service entry_service(const Mesh& mesh, const kube::ServiceEntry& entry, const EntryHost& host) {
    mesh::Service out;
    out.name = entry.metadata.name;
    out.name_space = entry.metadata.name_space;
    out.hostname = host.host;
    for (const Cidr& range : entry.addresses) out.vips.push_back({mesh.network, range});
    if (wants_automatic_vip(entry, host.host)) add_automatic_vips(mesh, entry, host, out);
    for (const kube::EntryPort& port : entry.ports)
        if (port.protocol != "UDP") out.ports.push_back(entry_port(port, 0));
    out.subject_alt_names = entry.subject_alt_names;
    out.balancing =
        balancing("", value_of(entry.metadata.annotations, distribution_annotation), host.distribution);
    if (entry.resolution == kube::Resolution::none) {
        out.balancing = {{}, mesh::LoadBalancingMode::passthrough, mesh::HealthPolicy::allow_all};
    }
    out.canonical = host.canonical;
    out.waypoint = host.waypoint;
    out.visibility = visibility_of(entry.export_to, out.name_space);
    return out;
}

bool implicit_endpoints(const kube::ServiceEntry& entry) {
    const bool dns =
        entry.resolution == kube::Resolution::dns || entry.resolution == kube::Resolution::dns_round_robin;
    return dns && entry.endpoints.empty() && !entry.workload_selector;
}

mesh::Workload entry_workload(const Mesh& mesh, const EntryEndpointInputs& inputs) {
    const kube::ServiceEntry& entry = inputs.entry;
    const kube::EntryEndpoint& endpoint = inputs.endpoint;
    mesh::Workload out;
    out.uid = mesh.cluster_id + "/networking.istio.io/ServiceEntry/" + entry.metadata.name_space + "/" +
              entry.metadata.name + "/" + endpoint.address;
    out.name = entry.metadata.name;
    out.name_space = entry.metadata.name_space;
    if (auto ip = Ip::parse(endpoint.address))
        out.addresses.push_back(*ip);
    else
        out.hostname = endpoint.address;
    out.network = endpoint.network.empty() ? mesh.network : endpoint.network;
    out.trust_domain = mesh.trust_domain;
    if (!endpoint.service_account.empty()) out.service_account = endpoint.service_account;
    out.cluster_id = mesh.cluster_id;
    out.type = mesh::WorkloadType::pod;
    out.workload_name = entry.metadata.name;
    set_canonical_names(entry.metadata.labels, out);
    if (native_tunnel(endpoint.labels) || native_tunnel(entry.metadata.labels)) {
        out.tunnel_protocol = mesh::TunnelProtocol::hbone;
        out.native_tunnel = true;
    }
    mesh::Ports ports;
    for (const kube::EntryPort& port : entry.ports) {
        if (port.protocol == "UDP") continue;
        auto named = endpoint.ports.find(port.name);
        ports.push_back(entry_port(port, named == endpoint.ports.end() ? 0 : named->second));
    }
    for (const std::string& host : inputs.hosts) out.services[{out.name_space, host}] = ports;
    out.authorization_policies = inputs.policies;
    out.locality = locality(endpoint.locality);
    out.capacity = endpoint.weight ? endpoint.weight : 1;
    return out;
}

}  // namespace culvert::controller::translate
