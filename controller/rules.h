// The rules of the graph, one a kind: what an object becomes, and what it asks for on the way. Each lives in
// its own file of sources/ and leaves the making of values to translate/. Pure: an object and the answers of
// Ask in, outputs out.
#pragma once
#include "controller/graph.h"

namespace culvert::controller {

Made derive(const kube::Pod& pod, Ask& ask);
Made derive(const kube::Service& service, Ask& ask);
Made derive(const kube::EndpointSlice& slice, Ask& ask);
Made derive(const kube::ServiceEntry& entry, Ask& ask);
Made derive(const kube::AuthorizationPolicy& policy, Ask& ask);
Made derive(const kube::PeerAuthentication& policy, Ask& ask);
inline Made derive(const kube::Namespace&, Ask&) { return {}; }  // asked for by others
inline Made derive(const kube::Node&, Ask&) { return {}; }

// The one derivation without an object: the policy that STRICT workloads name, while any PeerAuthentication
// exists.
Made derive_static_strict(Ask& ask);

// A remark about an object, for status.
kube::Problem note(const kube::Metadata& about, kube::Kind kind, std::string field, std::string message,
                   std::string fix = {});

}  // namespace culvert::controller
