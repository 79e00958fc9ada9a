// A workload as WDS describes it (wire.md 5.3): a plain value with every field of the message, also those
// that this version only refuses (waypoint, network gateway, application tunnel). lib/xds translates protobuf
// to and from it, the controller produces it, Directory keeps it in a compact form (directory.h). No I/O, no
// invariants beyond the types: what the wire allows and the mesh does not (LEGACY_ISTIO_MTLS, unknown
// enumerators, addresses of odd length, a service key without '/') is refused by the translation, never
// represented here.
#pragma once
#include "lib/base/ip.h"
#include "lib/mesh/identity.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace culvert::mesh {

// An address means something only together with its network; "" is the default network.
struct NetworkAddress {
    std::string network;
    Ip ip;
    auto operator<=>(const NetworkAddress&) const = default;
    std::string to_string() const;  // "network/ip": aliases and dumps
};

// What names a Service everywhere: "namespace/hostname" on the wire.
struct ServiceKey {
    std::string name_space;
    std::string hostname;
    auto operator<=>(const ServiceKey&) const = default;
    std::string to_string() const;
    // Splits at the first '/'; without one, or with another in the hostname, it is no key.
    static std::optional<ServiceKey> parse(std::string_view text);
};

// Where a waypoint or gateway is.
struct GatewayAddress {
    std::variant<ServiceKey, NetworkAddress> destination;
    std::uint16_t hbone_mtls_port = 0;
    bool operator==(const GatewayAddress&) const = default;
    std::string destination_text() const;  // "ns/host" or "net/ip"
};

// A service port and what it maps to. In a Service, target 0 is a named port that only endpoints know (O-19).
// `app_protocol` is carried, never read here (wire: UNKNOWN 0, HTTP11 1, HTTP2 2, GRPC 3).
struct Port {
    std::uint16_t service_port = 0;
    std::uint16_t target_port = 0;
    std::uint8_t app_protocol = 0;
    auto operator<=>(const Port&) const = default;
};
using Ports = std::vector<Port>;

enum class TunnelProtocol : std::uint8_t { none, hbone };
enum class WorkloadType : std::uint8_t { deployment, cronjob, pod, job };
enum class NetworkMode : std::uint8_t { standard, host_network };
enum class Health : std::uint8_t { healthy, unhealthy };

struct ApplicationTunnel {
    enum class Protocol : std::uint8_t { none, proxy };
    Protocol protocol = Protocol::none;
    std::uint16_t port = 0;  // 0: the port stays
    bool operator==(const ApplicationTunnel&) const = default;
};

struct Locality {
    std::string region;
    std::string zone;
    std::string subzone;
    auto operator<=>(const Locality&) const = default;
};

// The defaults are those that the wire leaves out ("" or zero); trust_domain, service_account and cluster_id
// are the exceptions that the translation fills in, so that no reader has to remember them.
struct Workload {
    std::string uid;
    std::string name;
    std::string name_space;
    std::vector<Ip> addresses;
    std::string hostname;
    std::string network;
    TunnelProtocol tunnel_protocol = TunnelProtocol::none;
    std::string trust_domain = "cluster.local";
    std::string service_account = "default";
    std::optional<GatewayAddress> waypoint;
    std::optional<GatewayAddress> network_gateway;
    std::string node;
    std::string canonical_name;
    std::string canonical_revision;
    WorkloadType type = WorkloadType::deployment;
    std::string workload_name;
    bool native_tunnel = false;
    std::vector<std::string> authorization_policies;  // "namespace/name"
    Health health = Health::healthy;
    std::string cluster_id = "Kubernetes";
    std::map<ServiceKey, Ports> services;
    std::optional<ApplicationTunnel> application_tunnel;
    Locality locality;
    NetworkMode network_mode = NetworkMode::standard;
    std::uint32_t capacity = 1;

    bool operator==(const Workload&) const = default;
    Identity identity() const { return {trust_domain, name_space, service_account}; }
};

// The words of labels, baggage and dumps: "deployment", "cronjob", "pod", "job".
std::string_view word(WorkloadType type);

}  // namespace culvert::mesh
