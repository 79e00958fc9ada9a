// ServiceEntries into services and endpoints (wire facts O-18, X-20, X-22). Pure.
//
// A host without an address gets automatic VIPs, as Istio gives them (240.240.0.0/16 and 2001:2::/48). Here
// they are a function of the host's name alone, so that restarts never move them; where two hosts fall on one
// IPv4 address the older entry keeps it and the other has its IPv6 address only, which says so in status.
// Addresses that Istio wrote into status.addresses are taken as they are.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/objects.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::controller::translate {

bool wants_automatic_vip(const kube::ServiceEntry& entry, std::string_view host);
std::uint16_t automatic_slot(std::string_view host);  // the last two bytes of the IPv4 address: 1 to 65534

struct EntryHost {
    std::string host;
    bool canonical = false;
    bool owns_automatic_v4 = true;
    std::string distribution;                      // of the namespace: last choice of O-18
    std::optional<mesh::GatewayAddress> waypoint;  // decision 12
};
mesh::Service entry_service(const Mesh& mesh, const kube::ServiceEntry& entry, const EntryHost& host);

// Istio's exportTo "~": not sent at all.
bool hidden(const std::vector<std::string>& export_to);
mesh::Visibility visibility_of(const std::vector<std::string>& export_to, std::string_view own_namespace);

// One endpoint of the entry: `hosts` are those it serves; `policies` are what its labels are selected by.
struct EntryEndpointInputs {
    const kube::ServiceEntry& entry;
    const kube::EntryEndpoint& endpoint;
    std::vector<std::string> hosts;
    std::vector<std::string> policies;
};
mesh::Workload entry_workload(const Mesh& mesh, const EntryEndpointInputs& inputs);

// DNS without written endpoints: each host is its own endpoint, which a node resolves itself (O-22).
bool implicit_endpoints(const kube::ServiceEntry& entry);

// Which target port a service port of the entry has at an endpoint with these named ports.
mesh::Port entry_port(const kube::EntryPort& port, std::uint16_t named);

}  // namespace culvert::controller::translate
