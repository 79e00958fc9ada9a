// AuthorizationPolicy and PeerAuthentication → what node proxies enforce.
#include "controller/rules.h"
#include "controller/sources/shared.h"
#include "controller/translate/policy.h"

namespace culvert::controller {

Made derive(const kube::AuthorizationPolicy& policy, Ask& ask) {
    Made made;
    translate::ConvertedPolicy converted = translate::authorization_policy(ask.mesh(), policy);
    for (translate::PolicyNote& one : converted.notes) {
        kube::Problem said = note(policy.metadata, kube::Kind::authorization_policy, std::move(one.field),
                                  std::move(one.message), std::move(one.fix));
        if (one.line > 0) said.line = one.line;
        said.severity = one.severity;
        made.notes.push_back(std::move(said));
    }
    if (converted.policy) made.outputs.emplace_back(*std::move(converted.policy));
    return made;
}

Made derive(const kube::PeerAuthentication& policy, Ask& ask) {
    Made made;
    const bool selects = policy.selector && !policy.selector->empty();
    if (selects && policy.metadata.name_space == ask.mesh().root_namespace) {
        made.notes.push_back(note(policy.metadata, kube::Kind::peer_authentication, "spec.selector",
                                  "is ignored in the root namespace: the policy has no effect"));
        return made;
    }
    if (!selects) return made;  // asked for by the workloads of its namespace
    auto own = translate::peer_policy(ask.mesh(), policy, peers_above(policy.metadata.name_space, ask));
    if (own) made.outputs.emplace_back(*std::move(own));
    return made;
}

Made derive_static_strict(Ask& ask) {
    Made made;
    const std::string all(kube::word(kube::Kind::peer_authentication));
    if (!ask.at<kube::PeerAuthentication>(Index::kind, all).empty())
        made.outputs.emplace_back(translate::static_strict_policy(ask.mesh()));
    return made;
}

}  // namespace culvert::controller
