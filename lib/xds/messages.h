// What travels on a delta discovery stream, as values without protobuf (wire.md 5.6): what a client says and
// hears, and what a server pushes. Translated to and from bytes in wire.cpp alone.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::xds {

// The resource types of a node proxy, in the order in which it asks for them.
enum class Type : std::uint8_t { address, authorization };
inline constexpr std::array types{Type::address, Type::authorization};
std::string_view url(Type type);                    // "type.googleapis.com/istio.workload.Address"
std::string_view word(Type type);                   // "address", "authorization": metrics and logs
std::optional<Type> type_of(std::string_view url);  // none: a type that we do not know

// In system_version_info, which Istio's nodes do not read: the picture is not whole yet.
inline constexpr std::string_view more_follows = "more follows";

// Who connects.
struct MetadataValue {
    std::string text;
    bool json = false;  // `text` is a JSON value, not a string
    bool operator==(const MetadataValue&) const = default;
};
struct Node {
    std::string id;
    std::string cluster;
    std::map<std::string, MetadataValue, std::less<>> metadata;
    bool operator==(const Node&) const = default;
};

struct DeltaRequest {
    std::optional<Node> node;  // in the first request of each type
    std::string type_url;
    std::vector<std::string> subscribe;
    std::vector<std::string> unsubscribe;
    std::vector<std::pair<std::string, std::string>> initial_versions;  // name, version
    std::string nonce;                                                  // of the response that this answers
    std::optional<std::string> error;                                   // set: a NACK
    bool operator==(const DeltaRequest&) const = default;
};

struct ReceivedResource {
    std::string name;
    std::string version;
    std::string type_url;  // of the body
    std::string body;
    bool operator==(const ReceivedResource&) const = default;
};
struct DeltaResponse {
    std::string type_url;
    std::string nonce;
    std::vector<ReceivedResource> resources;
    std::vector<std::string> removed;
    bool more = false;      // the rest of this picture follows in the next response
    std::size_t bytes = 0;  // on the wire: istio_xds_message_bytes_total
    bool operator==(const DeltaResponse&) const = default;
};

// A resource that a server publishes: serialised once, immutable, shared by every snapshot and every stream.
struct Resource {
    Type type{};
    std::string name;
    std::string version;
    std::string chunk;                 // its whole field of a DeltaDiscoveryResponse, tag and length included
    std::vector<std::string> aliases;  // other names by which it can be asked for
    std::vector<std::string>
        services;      // of a workload: "namespace/hostname" of which it is an endpoint
    std::string node;  // of a workload
};
using ResourcePtr = std::shared_ptr<const Resource>;

// One response as a server sends it.
struct Push {
    Type type{};
    std::string nonce;
    std::vector<ResourcePtr> resources;
    std::vector<std::string> removed;
    bool more = false;  // cut at its bound: the rest follows
};

}  // namespace culvert::xds
