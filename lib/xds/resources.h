// Between mesh values and the bytes of xDS resources: istio.workload.Address and istio.security.Authorization
// (wire.md 5.3, 5.4). Pure, safe from any thread.
//
// Decoding refuses what the wire allows and the mesh does not with bad_input and a text for the NACK:
// it rejects that resource only. Encoding is canonical (fields in order, maps sorted), so that equal values
// give equal bytes on every controller and the version may be a hash of them.
#pragma once
#include "lib/base/result.h"
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"
#include "lib/xds/messages.h"

#include <string>
#include <string_view>
#include <variant>

namespace culvert::xds {

using AddressValue = std::variant<mesh::Workload, mesh::Service>;

Result<AddressValue> decode_address(std::string_view body);
Result<mesh::Policy> decode_policy(std::string_view body);

// The resource name of a value: a workload's uid, "namespace/hostname", "namespace/name".
std::string name_of(const mesh::Workload& value);
std::string name_of(const mesh::Service& value);
std::string name_of(const mesh::Policy& value);

ResourcePtr encode(const mesh::Workload& value);
ResourcePtr encode(const mesh::Service& value);
ResourcePtr encode(const mesh::Policy& value);

// The bytes of a resource, without the envelope; for tests and foreign peers.
std::string body_of(const mesh::Workload& value);
std::string body_of(const mesh::Service& value);
std::string body_of(const mesh::Policy& value);

std::string content_version(std::string_view body);  // XXH64 in lower-case hexadecimal digits

}  // namespace culvert::xds
