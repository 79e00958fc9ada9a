// Pod → workload: with the services that select it, the slices that name it, and the policies that its labels
// are selected by.
#include "controller/rules.h"
#include "controller/sources/shared.h"
#include "controller/translate/workload.h"

#include <algorithm>

namespace culvert::controller {
namespace {

// Services without a selector reach pods through EndpointSlices whose targetRef names them.
void add_services_by_slice(const kube::Pod& pod, Ask& ask, std::vector<const kube::Service*>& services) {
    const std::string self =
        kube::Key{kube::Kind::pod, pod.metadata.name_space, pod.metadata.name}.to_string();
    for (const auto* slice : ask.at<kube::EndpointSlice>(Index::slices_of, self)) {
        const bool means_us = std::ranges::any_of(slice->endpoints, [&](const kube::SliceEndpoint& one) {
            return one.target && one.target->kind == "Pod" && one.target->name == pod.metadata.name &&
                   one.target->name_space == pod.metadata.name_space &&
                   (one.target->uid.empty() || one.target->uid == pod.metadata.uid);
        });
        if (!means_us) continue;
        const auto* service =
            ask.one<kube::Service>(kube::Kind::service, slice->metadata.name_space, slice->service);
        if (!service || service->external_name) continue;
        if (std::ranges::find(services, service) == services.end()) services.push_back(service);
    }
}

void add_notes(const kube::Pod& pod, const kube::Node* node, Ask& ask, std::vector<kube::Problem>& notes) {
    if (pod.node.empty())
        notes.push_back(
            note(pod.metadata, kube::Kind::pod, "spec.nodeName", "is missing: no node will enrol this pod"));
    else if (!node)
        notes.push_back(note(pod.metadata, kube::Kind::pod, "spec.nodeName",
                             "names a node that does not exist", "add a Node of this name"));
    if (pod.host_network) return;
    for (const Ip& ip : pod.ips) {
        for (const auto* service : ask.at<kube::Service>(Index::vip, ip.to_string())) {
            if (!is_published(*service) || !kube::older(service->metadata, pod.metadata)) continue;
            notes.push_back(note(pod.metadata, kube::Kind::pod, "status.podIPs",
                                 ip.to_string() + " is the cluster IP of Service " +
                                     service->metadata.name_space + "/" + service->metadata.name +
                                     ", which is older: the pod is not reached by it",
                                 "correct the address"));
            notes.back().severity = kube::Problem::Severity::error;
        }
        for (const auto* other : ask.at<kube::Pod>(Index::address, ip.to_string())) {
            if (other == &pod || !translate::has_workload(*other)) continue;
            notes.push_back(note(pod.metadata, kube::Kind::pod, "status.podIPs",
                                 ip.to_string() + " is also the address of " + other->metadata.name_space +
                                     "/" + other->metadata.name));
        }
    }
}

}  // namespace

Made derive(const kube::Pod& pod, Ask& ask) {
    Made made;
    if (!translate::has_workload(pod)) {
        if (pod.ips.empty() && pod.phase == kube::Phase::running)
            made.notes.push_back(note(pod.metadata, kube::Kind::pod, "status.podIPs",
                                      "is missing: not in the mesh", "write the pod's addresses there"));
        return made;
    }
    translate::PodInputs inputs{pod, nullptr, {}, {}, {}};
    inputs.node = pod.node.empty() ? nullptr : ask.one<kube::Node>(kube::Kind::node, "", pod.node);
    const std::string& name_space = pod.metadata.name_space;
    inputs.services = ask.selecting<kube::Service>(name_space, pod.metadata.labels);
    add_services_by_slice(pod, ask, inputs.services);
    for (const auto* entry : ask.selecting<kube::ServiceEntry>(name_space, pod.metadata.labels))
        inputs.entries.emplace_back(entry, won_hosts(*entry, ask));
    inputs.policies = attached_policies(name_space, pod.metadata.labels, ask);
    add_notes(pod, inputs.node, ask, made.notes);
    made.outputs.emplace_back(translate::pod_workload(ask.mesh(), inputs));
    return made;
}

}  // namespace culvert::controller
