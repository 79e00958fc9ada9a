// ServiceEntry → a service for each host that it has won, and a workload for each endpoint.
#include "controller/rules.h"
#include "controller/sources/shared.h"
#include "controller/translate/entry.h"

#include <algorithm>

namespace culvert::controller {
namespace {

// a Kubernetes Service is canonical wherever it is, else the oldest public entry.
bool is_canonical(const kube::ServiceEntry& entry, const std::string& host, Ask& ask) {
    if (!ask.at<kube::Service>(Index::host, host).empty()) return false;
    auto is_public = [](const kube::ServiceEntry& one) {
        return !translate::hidden(one.export_to) &&
               translate::visibility_of(one.export_to, one.metadata.name_space) == mesh::Visibility::everyone;
    };
    if (!is_public(entry)) return false;
    return std::ranges::none_of(ask.at<kube::ServiceEntry>(Index::host, host), [&](const auto* other) {
        return is_public(*other) && kube::older(other->metadata, entry.metadata);
    });
}

// Of all hosts that fall on one automatic address, the oldest entry's has it; entries of one host share it.
bool owns_slot(const std::string& host, Ask& ask) {
    const std::string slot = std::to_string(translate::automatic_slot(host));
    const kube::Metadata* oldest = nullptr;
    std::string owner;
    for (const auto* one : ask.at<kube::ServiceEntry>(Index::automatic, slot)) {
        for (const std::string& other : one->hosts) {
            if (!translate::wants_automatic_vip(*one, other)) continue;
            if (std::to_string(translate::automatic_slot(other)) != slot) continue;
            const bool first =
                !oldest || kube::older(one->metadata, *oldest) || (oldest == &one->metadata && other < owner);
            if (first) oldest = &one->metadata, owner = other;
        }
    }
    return owner == host;
}

mesh::Service host_service(const kube::ServiceEntry& entry, const std::string& host, Ask& ask, Made& made) {
    translate::EntryHost inputs{host, is_canonical(entry, host, ask), true, {}, {}};
    if (translate::wants_automatic_vip(entry, host) && entry.allocated.empty() && !owns_slot(host, ask)) {
        inputs.owns_automatic_v4 = false;
        made.notes.push_back(
            note(entry.metadata, kube::Kind::service_entry, "spec.addresses",
                 "the automatic IPv4 address of " + host + " is taken by an older entry: IPv6 only",
                 "write an address"));
    }
    inputs.distribution = namespace_distribution(entry.metadata.name_space, ask);
    return translate::entry_service(ask.mesh(), entry, inputs);
}

void add_endpoint(const kube::ServiceEntry& entry, const kube::EntryEndpoint& endpoint,
                  std::vector<std::string> hosts, Ask& ask, Made& made) {
    const kube::Labels& labels = endpoint.labels.empty() ? entry.metadata.labels : endpoint.labels;
    mesh::Workload workload =
        translate::entry_workload(ask.mesh(), {entry, endpoint, std::move(hosts),
                                               attached_policies(entry.metadata.name_space, labels, ask)});
    const bool seen = std::ranges::any_of(made.outputs, [&](const Output& one) {
        const auto* other = std::get_if<mesh::Workload>(&one);
        return other && other->uid == workload.uid;
    });
    if (seen)
        made.notes.push_back(
            note(entry.metadata, kube::Kind::service_entry, "spec.endpoints",
                 "the address " + endpoint.address + " stands here twice: the first counts"));
    else
        made.outputs.emplace_back(std::move(workload));
}

}  // namespace

Made derive(const kube::ServiceEntry& entry, Ask& ask) {
    Made made;
    const std::vector<std::string> hosts = won_hosts(entry, ask);
    if (hosts.size() < entry.hosts.size() && !translate::hidden(entry.export_to))
        made.notes.push_back(
            note(entry.metadata, kube::Kind::service_entry, "spec.hosts",
                 "a host is already taken in this namespace by a Service or an older ServiceEntry"));
    if (hosts.empty()) return made;
    const auto waypoint = missing_waypoint(entry.metadata, kube::Kind::service_entry, ask, made.notes);
    check_distribution(entry.metadata, kube::Kind::service_entry, made.notes);
    std::vector<Output> services;
    for (const std::string& host : hosts) {
        mesh::Service one = host_service(entry, host, ask, made);
        one.waypoint = waypoint;
        give_up_taken(entry.metadata, kube::Kind::service_entry, "spec.addresses", one, ask, made.notes);
        services.emplace_back(std::move(one));
    }
    if (translate::implicit_endpoints(entry)) {
        for (const std::string& host : hosts) {
            kube::EntryEndpoint itself;
            itself.address = host;
            add_endpoint(entry, itself, {host}, ask, made);
        }
    }
    for (const kube::EntryEndpoint& endpoint : entry.endpoints)
        add_endpoint(entry, endpoint, hosts, ask, made);
    made.outputs.insert(made.outputs.begin(), services.begin(), services.end());
    return made;
}

}  // namespace culvert::controller
