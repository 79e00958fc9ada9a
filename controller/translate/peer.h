// PeerAuthentications into the policies that make STRICT real (wire facts R-8, V-7): a denial of whoever has
// no identity. Pure.
//
// Order: mesh (root namespace, no selector) < namespace < workload selector; the oldest of each wins; UNSET
// inherits; DISABLE is PERMISSIVE. A workload whose mode and ports are not all alike gets a policy of its
// own; whatever is STRICT throughout names the static one.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/objects.h"
#include "lib/mesh/policy.h"

#include <optional>
#include <string>
#include <vector>

namespace culvert::controller::translate {

// The PeerAuthentications that may matter to a workload, each list in no order.
struct PeerInputs {
    std::vector<const kube::PeerAuthentication*> mesh;        // of the root namespace, without a selector
    std::vector<const kube::PeerAuthentication*> name_space;  // of its namespace, without a selector
    std::vector<const kube::PeerAuthentication*> workload;    // of its namespace, selecting it
};

// The keys that the workload's list of policies gets, none or one.
std::vector<std::string> peer_policies(const Mesh& mesh, const PeerInputs& inputs);

// The policy of a PeerAuthentication with a selector and port modes, under the modes of mesh and namespace;
// none when it says nothing that the static policy, or no policy, does not say.
std::optional<mesh::Policy> peer_policy(const Mesh& mesh, const kube::PeerAuthentication& from,
                                        const PeerInputs& inputs);

mesh::Policy static_strict_policy(const Mesh& mesh);

}  // namespace culvert::controller::translate
