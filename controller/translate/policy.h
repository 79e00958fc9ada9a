// AuthorizationPolicies into what a node proxy enforces (wire fact R-9). Pure.
//
// A node proxy decides on L4. What needs HTTP makes an ALLOW rule vanish and is left out of a DENY rule: both
// are stricter than written and are errors in status. CUSTOM denies what it would ask its provider about.
// With
// --l7-fail-open what cannot be enforced has no effect, as in Istio (docs/decisions: closed without L7). Two
// deviations close holes: trustDomains in an ALLOW rule count as something that we cannot check (Istio drops
// the constraint and so allows more), and a selector without labels means the whole namespace (Istio attaches
// such a policy to nothing).
#pragma once
#include "controller/mesh.h"
#include "lib/kube/manifests.h"
#include "lib/mesh/policy.h"

#include <optional>
#include <string>
#include <vector>

namespace culvert::controller::translate {

struct PolicyNote {
    std::string field;
    std::string message;
    std::string fix;
    int line = 0;  // of the rule; 0: the policy's own
    kube::Problem::Severity severity = kube::Problem::Severity::error;
};
struct ConvertedPolicy {
    std::optional<mesh::Policy> policy;  // none: not for node proxies
    std::vector<PolicyNote> notes;
};
ConvertedPolicy authorization_policy(const Mesh& mesh, const kube::AuthorizationPolicy& from);

// Whether the policy is attached by name to the workloads that it selects.
bool by_selector(const kube::AuthorizationPolicy& policy);
// Whether authorization_policy() gives a policy at all.
bool is_converted(const Mesh& mesh, const kube::AuthorizationPolicy& policy);
// Neither a dry run nor AUDIT: it decides about connections, here or at a waypoint.
bool is_enforced(const kube::AuthorizationPolicy& policy);

}  // namespace culvert::controller::translate
