// Where an application's connection goes: wire facts O-1 to O-30 as one pure function over one snapshot. It
// opens nothing and remembers nothing; ztunnel/outbound does what the verdict says, and the verdict carries
// all that its access log line and metrics need. What this version does not carry (waypoints, gateways,
// application tunnels) has its place here and is refused with its own reason.
#pragma once
#include "lib/base/random.h"
#include "lib/base/reason.h"
#include "lib/mesh/directory.h"

#include <string>
#include <vector>

namespace culvert::mesh {

// What a node is told about the mesh around it; the same for all of its pods.
struct Surroundings {
    std::string network;                // NETWORK: own network (O-3)
    std::vector<Cidr> mesh_ranges;      // S14: unknown addresses in here belong to the mesh ...
    std::vector<Cidr> external_ranges;  // ... unless they are declared to be outside
    std::string cluster_domain = "cluster.local";
    std::string preferred_service_namespace;  // PREFERED_SERVICE_NAMESPACE, DNS only
    bool capture_ports = true;  // capture reserves 15104 to 15167 in every pod: the agent is ours

    bool owns(Ip ip) const;  // in a mesh range and in no external one
    // Ports of ztunnel and of capture inside every pod: never dialled there on anybody's behalf (O-1, I-10,
    // S8).
    bool is_ztunnel_port(std::uint16_t port) const;
};

struct Outbound {
    enum class Way : std::uint8_t {
        refused,      // `reason` says why; the application's connection is reset
        wait,         // refused, unless a newer snapshot says otherwise within the wait (S14)
        passthrough,  // outside the mesh: plain TCP to `dial`, no identity
        direct,       // a workload without HBONE: plain TCP to `dial`
        hbone,        // a tunnel: dial `dial`, accept one of `accepted`, CONNECT `authority`
        resolve,  // a workload without HBONE known by `hostname` only: resolve it, then as direct, to port
                  // dial.port
    };

    Way way = Way::refused;
    Reason reason = Reason::none;  // of refused and wait
    Address dial;
    Address authority;               // hbone: where the destination's proxy is to connect to (O-10)
    std::vector<Identity> accepted;  // hbone: the SAN list (H-15); never empty
    std::string hostname;            // resolve
    WorkloadPtr workload;            // the destination, if one was chosen: labels, logs, pool key
    ServicePtr service;              // the service that the application addressed, if any
};

struct OutboundRequest {
    const WorkloadRecord& source;  // the pod on whose behalf; known, see O-2
    Ip caller;                     // the address that the application's connection came from (O-8)
    Address target;                // the original destination
};

Outbound decide(const Directory& directory, const Surroundings& around, const OutboundRequest& request,
                Random& random);

}  // namespace culvert::mesh
