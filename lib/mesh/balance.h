// Which endpoint of a service a connection goes to: wire facts O-13 to O-17, and port and address of the
// chosen one, O-19 to O-21. Pure; chance is a parameter.
#pragma once
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/mesh/directory.h"

#include <optional>

namespace culvert::mesh {

struct Pick {
    WorkloadPtr workload;
    std::uint16_t port = 0;  // where it listens (O-19)
};

// The request: who asks, for which port of which service. `for_waypoint` relaxes the port rule as O-13 and
// O-24 say.
struct PickRequest {
    const WorkloadRecord& source;
    const ServiceRecord& service;
    std::uint16_t service_port = 0;
    bool for_waypoint = false;
};

// Refusals: no_healthy_upstream; no_port_mapping if no endpoint serves that port.
Result<Pick> pick(const PickRequest& request, Random& random);

// O-15's rank: how many leading preferences `endpoint` shares with `source`.
unsigned rank(const WorkloadRecord& source, const WorkloadRecord& endpoint,
              const std::vector<LoadBalancingScope>& preferences);

// O-19; none: the endpoint does not serve that port.
std::optional<std::uint16_t> target_port(const WorkloadRecord& endpoint, const ServiceRecord& service,
                                         std::uint16_t service_port, bool for_waypoint);

// O-21: which of its addresses. None: it has no address that this service and this target permit.
std::optional<Ip> choose_ip(const WorkloadRecord& endpoint, const Service* service, Ip target);

}  // namespace culvert::mesh
