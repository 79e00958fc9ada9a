// Between the values of messages.h and protobuf. Private to lib/xds: everything else stays free of protobuf's
// headers. Pure. A message that does not parse is bad_input; its size was bounded by whoever received it.
#pragma once
#include "lib/base/result.h"
#include "lib/xds/messages.h"
#include "lib/xds/transport.h"

#include <string>
#include <string_view>

namespace google::protobuf {
class MessageLite;
}
namespace envoy::service::discovery::v3 {
class DeltaDiscoveryRequest;
class DeltaDiscoveryResponse;
}  // namespace envoy::service::discovery::v3
namespace istio::v1::auth {
class IstioCertificateRequest;
}
namespace culvert::node::v1 {
class ReportRequest;
}

namespace culvert::xds {

// The same bytes for the same value: maps in the order of their keys.
std::string canonical(const google::protobuf::MessageLite& message);

// A resource as its field of a DeltaDiscoveryResponse: tag, length, Resource{version, Any{url, body}, name,
// aliases}.
std::string resource_chunk(const Resource& resource, std::string_view body);
// What follows the chunks of a push: type_url, nonce, removed_resources. Chunks and this, one behind the
// other in any order, are the message.
std::string push_tail(const Push& push);
std::string push_bytes(const Push& push);  // the whole message, copied: memory transport

void put(const DeltaRequest& from, envoy::service::discovery::v3::DeltaDiscoveryRequest& to);
Result<DeltaRequest> take(envoy::service::discovery::v3::DeltaDiscoveryRequest& from);  // moves out of it
DeltaResponse take(envoy::service::discovery::v3::DeltaDiscoveryResponse& from);        // moves out of it

void put(const SignRequest& from, istio::v1::auth::IstioCertificateRequest& to);
Result<SignRequest> take(istio::v1::auth::IstioCertificateRequest& from);

void put(const Report& from, culvert::node::v1::ReportRequest& to);
Report take(culvert::node::v1::ReportRequest& from);

// From and to bytes, for the memory transport and fuzzers.
std::string bytes_of(const DeltaRequest& request);
Result<DeltaRequest> parse_request(std::string_view bytes);
Result<DeltaResponse> parse_response(std::string_view bytes);

}  // namespace culvert::xds
