#include "controller/translate/peer.h"

#include <algorithm>

namespace culvert::controller::translate {
namespace {

// '_' cannot stand in the name of a Kubernetes object: no policy of a user's has these names.
constexpr const char* static_strict_name = "istio_converted_static_strict";
constexpr const char* converted_prefix = "converted_peer_authentication_";

const kube::PeerAuthentication* oldest(const std::vector<const kube::PeerAuthentication*>& list) {
    auto found = std::ranges::min_element(
        list, [](const auto* a, const auto* b) { return kube::older(a->metadata, b->metadata); });
    return found == list.end() ? nullptr : *found;
}

// `mode` as a yes or no; UNSET is what stands above.
bool strict(kube::MtlsMode mode, bool above) {
    return mode == kube::MtlsMode::unset ? above : mode == kube::MtlsMode::strict;
}

bool strict_above(const PeerInputs& inputs) {
    const auto* of_mesh = oldest(inputs.mesh);
    const auto* of_namespace = oldest(inputs.name_space);
    const bool mesh_strict = of_mesh && strict(of_mesh->mode, false);
    return of_namespace ? strict(of_namespace->mode, mesh_strict) : mesh_strict;
}

mesh::Match without_identity() {
    mesh::Match out;
    out.principals.none_of.push_back(mesh::StringMatch::presence());
    return out;
}

// Ports whose mode differs from the workload's.
std::vector<std::uint16_t> exceptions(const kube::PeerAuthentication& from, bool strict_otherwise) {
    std::vector<std::uint16_t> out;
    for (const auto& [port, mode] : from.port_modes)
        if (strict(mode, strict_otherwise) != strict_otherwise) out.push_back(port);
    return out;
}

}  // namespace

std::vector<std::string> peer_policies(const Mesh& mesh, const PeerInputs& inputs) {
    const bool above = strict_above(inputs);
    const auto* own = oldest(inputs.workload);
    const bool whole = own ? strict(own->mode, above) : above;
    if (own && !exceptions(*own, whole).empty())
        return {own->metadata.name_space + "/" + converted_prefix + own->metadata.name};
    if (whole) return {mesh.root_namespace + "/" + static_strict_name};
    return {};
}

std::optional<mesh::Policy> peer_policy(const Mesh& mesh, const kube::PeerAuthentication& from,
                                        const PeerInputs& inputs) {
    const bool selects_workloads = from.selector && !from.selector->empty();
    if (!selects_workloads || from.metadata.name_space == mesh.root_namespace) return {};
    const bool whole = strict(from.mode, strict_above(inputs));
    const std::vector<std::uint16_t> ports = exceptions(from, whole);
    if (ports.empty()) return {};
    mesh::Policy out;
    out.name = converted_prefix + from.metadata.name;
    out.name_space = from.metadata.name_space;
    out.scope = mesh::PolicyScope::workload_selector;
    out.action = mesh::PolicyAction::deny;
    if (whole) {
        // Denied is who has no identity AND comes to none of the excepted ports: clauses of one rule (V-7).
        mesh::Rule rule{{{{without_identity()}}}};
        for (std::uint16_t port : ports) {
            mesh::Match elsewhere;
            elsewhere.destination_ports.none_of.push_back({port});
            rule.clauses.push_back({{elsewhere}});
        }
        out.rules.push_back(std::move(rule));
        return out;
    }
    for (std::uint16_t port : ports) {
        mesh::Match match = without_identity();
        match.destination_ports.any_of.push_back({port});
        out.rules.push_back({{{{match}}}});
    }
    return out;
}

mesh::Policy static_strict_policy(const Mesh& mesh) {
    mesh::Policy out;
    out.name = static_strict_name;
    out.name_space = mesh.root_namespace;
    out.scope = mesh::PolicyScope::workload_selector;
    out.action = mesh::PolicyAction::deny;
    out.rules.push_back({{{{without_identity()}}}});
    return out;
}

}  // namespace culvert::controller::translate
