// Documents in, objects out: which kinds are read, with which apiVersion, and what is checked. Pure.
//
// The decoders of the kinds themselves stand in decode_core.cpp (Kubernetes), decode_entry.cpp (ServiceEntry)
// and decode_policy.cpp (Istio's security kinds). Unknown fields are errors everywhere that we look; parts of
// Kubernetes' large schemas that nothing here uses are accepted without a look.
#pragma once
#include "lib/kube/fields.h"

namespace culvert::kube {

// Appends the objects of one document; of a List all its items. What cannot be decoded is in `problems` only.
void decode(const Value& document, Problems& problems, std::vector<ObjectPtr>& objects);

// One kind each: `document` is the object's map, `metadata` is already read and checked.
Object decode_namespace(Fields& document, Metadata metadata);
Object decode_node(Fields& document, Metadata metadata);
Object decode_pod(Fields& document, Metadata metadata);
Object decode_service(Fields& document, Metadata metadata);
Object decode_endpoint_slice(Fields& document, Metadata metadata);
Object decode_service_entry(Fields& document, Metadata metadata);
Object decode_authorization_policy(Fields& document, Metadata metadata);
Object decode_peer_authentication(Fields& document, Metadata metadata);

// `selector: {matchLabels: ...}` of Istio's kinds; nothing when absent.
std::optional<Labels> decode_selector(Fields& spec);

}  // namespace culvert::kube
