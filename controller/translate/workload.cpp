#include "controller/translate/workload.h"

#include "controller/store.h"
#include "controller/translate/entry.h"
#include "controller/translate/service.h"

#include <algorithm>

namespace culvert::controller::translate {
namespace {

// A port of a Service at this pod. A name that no container has: the pod does not serve that port (trap 15).
std::optional<std::uint16_t> target_at(const kube::Pod& pod, const kube::ServicePort& port) {
    if (const auto* number = std::get_if<std::uint16_t>(&port.target)) return *number;
    const auto* name = std::get_if<std::string>(&port.target);
    if (!name) return port.port;
    for (const kube::ContainerPort& one : pod.ports)
        if (one.name == *name && one.protocol == kube::Protocol::tcp) return one.port;
    return {};
}

std::uint16_t named_port(const kube::Pod& pod, std::string_view name) {
    for (const kube::ContainerPort& one : pod.ports)
        if (one.name == name && one.protocol == kube::Protocol::tcp) return one.port;
    return 0;
}

void add_services(const Mesh& mesh, const PodInputs& inputs, mesh::Workload& out) {
    for (const kube::Service* service : inputs.services) {
        mesh::Ports ports;
        for (const kube::ServicePort& port : service->ports) {
            if (port.protocol != kube::Protocol::tcp) continue;
            if (auto target = target_at(inputs.pod, port))
                ports.push_back({port.port, *target, app_protocol(port.app_protocol, port.name)});
        }
        out.services[{service->metadata.name_space, service_host(service->metadata, mesh)}] =
            std::move(ports);
    }
    for (const auto& [entry, hosts] : inputs.entries) {
        mesh::Ports ports;
        for (const kube::EntryPort& port : entry->ports)
            if (port.protocol != "UDP") ports.push_back(entry_port(port, named_port(inputs.pod, port.name)));
        for (const std::string& host : hosts) out.services[{entry->metadata.name_space, host}] = ports;
    }
}

mesh::Locality locality_of(const kube::Node& node) {
    auto first = [&](std::string_view name, std::string_view old_name) {
        const std::string_view value = value_of(node.metadata.labels, name);
        return std::string(value.empty() ? value_of(node.metadata.labels, old_name) : value);
    };
    return {first("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
            first("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
            std::string(value_of(node.metadata.labels, "topology.istio.io/subzone"))};
}

// CronJob names its Jobs NAME-<minutes or seconds since 1970>: 8 or 10 digits.
std::string without_schedule(const std::string& job) {
    const std::size_t dash = job.rfind('-');
    if (dash == std::string::npos || dash == 0) return job;
    const std::string_view digits = std::string_view(job).substr(dash + 1);
    const bool all = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
    return all && (digits.size() == 8 || digits.size() == 10) ? job.substr(0, dash) : job;
}

}  // namespace

bool has_workload(const kube::Pod& pod) {
    return pod.phase != kube::Phase::succeeded && pod.phase != kube::Phase::failed && !pod.ips.empty();
}

std::string workload_name(const kube::Metadata& pod) {
    for (const kube::Owner& owner : pod.owners) {
        if (!owner.controller) continue;
        if (owner.kind == "Job") return without_schedule(owner.name);
        if (owner.kind != "ReplicaSet") return owner.name;
        const std::string suffix = "-" + std::string(value_of(pod.labels, "pod-template-hash"));
        if (suffix.size() > 1 && owner.name.ends_with(suffix) && owner.name.size() > suffix.size())
            return owner.name.substr(0, owner.name.size() - suffix.size());
        return owner.name;
    }
    return pod.name;
}

bool native_tunnel(const kube::Labels& labels) {
    std::string_view list = value_of(labels, "networking.istio.io/tunnel");
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        if (list.substr(0, comma) == "http") return true;
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return false;
}

void set_canonical_names(const kube::Labels& labels, mesh::Workload& out) {
    auto first_of = [&](std::initializer_list<std::string_view> names) {
        for (std::string_view name : names)
            if (auto found = labels.find(name); found != labels.end()) return found->second;
        return std::string();
    };
    out.canonical_name = first_of({"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"});
    if (out.canonical_name.empty()) out.canonical_name = out.workload_name;
    out.canonical_revision =
        first_of({"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"});
    if (out.canonical_revision.empty()) out.canonical_revision = "latest";
}

mesh::Workload pod_workload(const Mesh& mesh, const PodInputs& inputs) {
    const kube::Pod& pod = inputs.pod;
    mesh::Workload out;
    out.uid = mesh.cluster_id + "//Pod/" + pod.metadata.name_space + "/" + pod.metadata.name;
    out.name = pod.metadata.name;
    out.name_space = pod.metadata.name_space;
    out.addresses = pod.ips;
    out.network = mesh.network;
    out.trust_domain = mesh.trust_domain;
    out.service_account = pod.service_account;
    out.node = pod.node;
    out.workload_name = workload_name(pod.metadata);
    out.type = mesh::WorkloadType::pod;
    set_canonical_names(pod.metadata.labels, out);
    if (pod.host_network) {
        out.network_mode = mesh::NetworkMode::host_network;  // shares its addresses: never HBONE (trap 16)
    } else {
        // A node of ours knows whether the pod is served; a label of its manifest alone does not make it so.
        const bool enrolled =
            value_of(pod.metadata.annotations, redirection_annotation) == redirection_enabled;
        out.native_tunnel = native_tunnel(pod.metadata.labels) && (enrolled || !inputs.node);
        if (enrolled || out.native_tunnel) out.tunnel_protocol = mesh::TunnelProtocol::hbone;
    }
    out.authorization_policies = inputs.policies;
    out.health = pod.ready && !pod.metadata.deleting ? mesh::Health::healthy : mesh::Health::unhealthy;
    out.cluster_id = mesh.cluster_id;
    if (inputs.node) out.locality = locality_of(*inputs.node);
    add_services(mesh, inputs, out);
    return out;
}

std::vector<mesh::Workload> slice_workloads(const Mesh& mesh, const kube::EndpointSlice& slice,
                                            const kube::Service& service) {
    mesh::Ports ports;
    for (const kube::SlicePort& port : slice.ports) {
        if (!port.port || port.protocol != kube::Protocol::tcp) continue;
        for (const kube::ServicePort& of : service.ports)
            if (of.name == port.name && of.protocol == kube::Protocol::tcp)
                ports.push_back({of.port, *port.port, app_protocol(of.app_protocol, of.name)});
    }
    std::vector<mesh::Workload> out;
    for (const kube::SliceEndpoint& endpoint : slice.endpoints) {
        if (endpoint.addresses.empty() || (endpoint.target && endpoint.target->kind == "Pod")) continue;
        mesh::Workload one;
        one.uid = mesh.cluster_id + "/discovery.k8s.io/EndpointSlice/" + slice.metadata.name_space + "/" +
                  slice.metadata.name + "/" + endpoint.addresses[0].to_string();
        const bool seen = std::ranges::any_of(out, [&](const auto& other) { return other.uid == one.uid; });
        if (seen) continue;
        one.name = slice.metadata.name;
        one.name_space = slice.metadata.name_space;
        one.addresses = endpoint.addresses;
        one.network = mesh.network;
        one.trust_domain = mesh.trust_domain;
        one.cluster_id = mesh.cluster_id;
        one.network_mode = mesh::NetworkMode::host_network;  // may be anybody's address
        one.health = endpoint.ready ? mesh::Health::healthy : mesh::Health::unhealthy;
        one.services[{slice.metadata.name_space, service_host(service.metadata, mesh)}] = ports;
        out.push_back(std::move(one));
    }
    return out;
}

}  // namespace culvert::controller::translate
