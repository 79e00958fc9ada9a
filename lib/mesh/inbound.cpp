#include "lib/mesh/inbound.h"

namespace culvert::mesh {

namespace {

// Whether `reference` leads to this pod: it is an endpoint of the service, or owns the address accepted on
// (I-7).
bool leads_here(const Directory& directory, const GatewayAddress& reference, const InboundRequest& request) {
    ServicePtr service;
    WorkloadPtr workload;
    if (const auto* key = std::get_if<ServiceKey>(&reference.destination)) {
        service = directory.service(*key);
        if (!service) workload = directory.workload_by_hostname(key->name_space, key->hostname);
    } else {
        const auto& address = std::get<NetworkAddress>(reference.destination);
        service = directory.service_at(address.network, address.ip, request.local->name_space);
        if (!service) workload = directory.workload_at(address.network, address.ip);
    }
    if (service) return request.local.service_ports(service->key) != nullptr;
    return workload && workload->owns(request.accepted.ip);
}

// I-7's last case: we are the waypoint of what the caller named. Weighted waypoints count as well (better
// than W-12).
bool is_waypoint_of(const Directory& directory, const Surroundings& around, const InboundRequest& request,
                    Ip named) {
    WorkloadPtr workload = directory.workload_at(around.network, named);
    if (workload && workload->kind().waypoint && leads_here(directory, *workload->kind().waypoint, request))
        return true;
    ServicePtr service = directory.service_at(around.network, named, request.local->name_space);
    if (!service) return false;
    if (service->value->waypoint && leads_here(directory, *service->value->waypoint, request)) return true;
    for (const WeightedWaypoint& waypoint : service->value->weighted_waypoints)
        if (waypoint.weight > 0 && leads_here(directory, waypoint.destination, request)) return true;
    return false;
}

// I-9, and S15: only for a service whose endpoint this pod is.
Result<Inbound> by_hostname(const Directory& directory, const InboundRequest& request,
                            const HostPort& named) {
    ServicePtr service = directory.service_by_hostname(named.host, request.local->name_space);
    if (!service) return refuse(Reason::destination_unknown);
    const Ports* ports = request.local.service_ports(service->key);
    if (!ports) return refuse(Reason::service_not_ours);
    const Port* mapped = find_port(*ports, named.port);
    if (!mapped || mapped->target_port == 0) mapped = service->value->port(named.port);
    if (!mapped || mapped->target_port == 0) return refuse(Reason::no_port_mapping);
    return Inbound{{request.accepted.ip, mapped->target_port}, service};
}

Result<Inbound> by_address(const Directory& directory, const Surroundings& around,
                           const InboundRequest& request, Address named) {
    if (named.ip != request.accepted.ip && !is_waypoint_of(directory, around, request, named.ip))
        return refuse(Reason::authority_not_ours);
    return Inbound{{request.accepted.ip, named.port}, nullptr};  // I-8
}

// M-6: the service that the caller says its application addressed, if it is ours; else the first that maps to
// the port.
ServicePtr reported_service(const Directory& directory, const WorkloadRecord& local,
                            std::string_view forwarded_host, std::uint16_t port) {
    ServicePtr first;
    for (const auto& [key, ports] : local->services) {
        ServicePtr service = directory.service(key);
        if (!service) continue;
        if (!forwarded_host.empty() && key.hostname == forwarded_host) return service;
        auto maps = [&](const Ports& these) {
            return std::ranges::any_of(these, [port](const Port& one) { return one.target_port == port; });
        };
        if (!first && (maps(ports) || maps(service->value->ports))) first = service;
    }
    return first;
}

}  // namespace

Result<Inbound> admit(const Directory& directory, const Surroundings& around, const InboundRequest& request) {
    if (request.local->application_tunnel) return refuse(Reason::application_tunnel_unsupported);
    const auto* host = std::get_if<HostPort>(&request.authority);
    TRY(Inbound verdict, host ? by_hostname(directory, request, *host)
                              : by_address(directory, around, request, std::get<Address>(request.authority)));
    if (verdict.dial.port == 0) return refuse(Reason::bad_request);
    if (around.is_ztunnel_port(verdict.dial.port)) return refuse(Reason::loop_to_ourselves);  // I-10
    if (!verdict.service)
        verdict.service =
            reported_service(directory, request.local, request.forwarded_host, verdict.dial.port);
    return verdict;
}

Result<Inbound> admit_plaintext(const Directory& directory, const Surroundings& around,
                                const WorkloadRecord& local, Address original_destination) {
    if (around.is_ztunnel_port(original_destination.port) || original_destination.ip.is_unspecified())
        return refuse(Reason::loop_to_ourselves);
    return Inbound{original_destination, reported_service(directory, local, {}, original_destination.port)};
}

int connect_status(Reason reason) {
    switch (reason) {
    case Reason::bad_request:
    case Reason::authority_not_ours: return 400;
    case Reason::policy_denied:
    case Reason::policy_unknown:
    case Reason::policy_changed:
    case Reason::not_synced: return 401;
    default: return 503;
    }
}

}  // namespace culvert::mesh
