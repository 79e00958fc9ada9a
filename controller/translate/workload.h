// Pods and EndpointSlices into workloads (wire facts; decision 9). Pure: what selects the pod has
// been found by whoever calls.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/objects.h"
#include "lib/mesh/workload.h"

#include <string>
#include <vector>

namespace culvert::controller::translate {

// Pods that have no workload: finished ones and those without an address yet. Pending ones with an address
// have.
bool has_workload(const kube::Pod& pod);

struct PodInputs {
    const kube::Pod& pod;
    const kube::Node* node = nullptr;
    std::vector<const kube::Service*> services;  // each once
    std::vector<std::pair<const kube::ServiceEntry*, std::vector<std::string>>>
        entries;                        // with the hosts it has won
    std::vector<std::string> policies;  // keys, in order
};
mesh::Workload pod_workload(const Mesh& mesh, const PodInputs& inputs);

// The endpoints of a slice that are no pods: addresses without identity.
std::vector<mesh::Workload> slice_workloads(const Mesh& mesh, const kube::EndpointSlice& slice,
                                            const kube::Service& service);

// The agent's annotation, as istio-cni sets it: the only thing that makes a pod HBONE (decision 9).
inline constexpr std::string_view redirection_annotation = "ambient.istio.io/redirection";
inline constexpr std::string_view redirection_enabled = "enabled";

// Label networking.istio.io/tunnel: the endpoint speaks HBONE itself.
bool native_tunnel(const kube::Labels& labels);
// service.istio.io/canonical-name and -revision, with Istio's fallbacks; `out.workload_name` is the last of
// them.
void set_canonical_names(const kube::Labels& labels, mesh::Workload& out);
// The name of what made the pod: a ReplicaSet's Deployment, a Job's CronJob, else the owner, else the pod
// itself.
std::string workload_name(const kube::Metadata& pod);

}  // namespace culvert::controller::translate
