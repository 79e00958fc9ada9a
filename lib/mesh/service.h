// A service as WDS describes it (wire.md 5.3): a plain value with every field of the message. See workload.h
// for what the translation refuses.
#pragma once
#include "lib/base/ip.h"
#include "lib/mesh/workload.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::mesh {

// A virtual address, or a range of them. A single address is exact, anything wider is a CIDR VIP (O-27).
struct Vip {
    std::string network;
    Cidr range;
    auto operator<=>(const Vip&) const = default;
    bool exact() const { return range.single(); }
    std::string to_string() const;  // "network/ip", "network/ip/length" for a range
};

enum class LoadBalancingScope : std::uint8_t { region = 1, zone, subzone, node, cluster, network };
enum class LoadBalancingMode : std::uint8_t { unspecified, strict, failover, passthrough };
enum class HealthPolicy : std::uint8_t { only_healthy, allow_all };
enum class IpFamilies : std::uint8_t { automatic, v4_only, v6_only, dual };
enum class Visibility : std::uint8_t {
    everyone,
    name_space
};  // PUBLIC, NAMESPACE; unknown values mean everyone (O-29)

struct LoadBalancing {
    std::vector<LoadBalancingScope> preferences;
    LoadBalancingMode mode = LoadBalancingMode::unspecified;
    HealthPolicy health = HealthPolicy::only_healthy;
    bool operator==(const LoadBalancing&) const = default;
};

struct WeightedWaypoint {
    GatewayAddress destination;
    std::uint32_t weight = 0;
    bool operator==(const WeightedWaypoint&) const = default;
};

struct Service {
    std::string name;
    std::string name_space;
    std::string hostname;
    std::vector<Vip> vips;  // empty: headless
    Ports ports;
    std::vector<std::string> subject_alt_names;
    std::optional<GatewayAddress> waypoint;
    std::vector<WeightedWaypoint> weighted_waypoints;
    LoadBalancing balancing;
    IpFamilies ip_families = IpFamilies::automatic;
    bool canonical = false;
    bool ingress_use_waypoint = false;  // carried for gateways; a node proxy does not read it
    Visibility visibility = Visibility::everyone;

    bool operator==(const Service&) const = default;
    ServiceKey key() const { return {name_space, hostname}; }
    bool owns(std::string_view network, Ip ip) const;    // by a VIP of exactly this address
    bool permits(Ip ip) const;                           // by ip_families
    const Port* port(std::uint16_t service_port) const;  // null: not defined
    bool visible_to(std::string_view client_namespace) const {
        return visibility == Visibility::everyone || client_namespace == name_space;
    }
};

const Port* find_port(const Ports& ports, std::uint16_t service_port);

}  // namespace culvert::mesh
