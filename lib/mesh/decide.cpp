#include "lib/mesh/decide.h"

#include "lib/mesh/balance.h"

#include <algorithm>

namespace culvert::mesh {

namespace {

constexpr std::uint16_t hbone_port = 15008;

Outbound refused(Outbound so_far, Reason reason) {
    so_far.way = Outbound::Way::refused;
    so_far.reason = reason;
    return so_far;
}

Outbound wait(Reason reason) {
    Outbound verdict;
    verdict.way = Outbound::Way::wait;
    verdict.reason = reason;
    return verdict;
}

bool has_waypoint(const Service& service) {
    auto weighs = [](const WeightedWaypoint& waypoint) { return waypoint.weight > 0; };
    return service.waypoint || std::ranges::any_of(service.weighted_waypoints, weighs);
}

// Nothing in the directory owns the target (O-6), which is not yet a reason to leave the mesh (S14).
Outbound unknown_target(const Directory& directory, const Surroundings& around, Address target) {
    if (!directory.synced().addresses) return wait(Reason::not_synced);
    if (directory.was_hbone(around.network, target.ip)) return wait(Reason::downgrade_refused);
    if (around.owns(target.ip)) return wait(Reason::destination_unknown);
    Outbound verdict;
    verdict.way = Outbound::Way::passthrough;
    verdict.dial = target;
    return verdict;
}

// O-6: the service says that its addresses are reached as they are. That cannot take an address out of the
// mesh: not a workload's with HBONE, not one last known so, and a range not those of the mesh (S14).
Outbound past_the_mesh(const Directory& directory, const Surroundings& around, Address target,
                       ServicePtr service) {
    Outbound verdict;
    if (directory.was_hbone(around.network, target.ip)) return wait(Reason::downgrade_refused);
    if (around.owns(target.ip) && !service->value->owns(around.network, target.ip))
        return wait(Reason::destination_unknown);
    verdict.way = Outbound::Way::passthrough;
    verdict.dial = target;
    verdict.service = std::move(service);
    return verdict;
}

// A range is a claim to addresses that may be others': a workload that is known by this very address keeps
// it, and one with HBONE also against a service that would have it reached without (S14).
bool keeps_address(const WorkloadRecord& workload, const Service& service, std::string_view network, Ip ip) {
    if (!service.owns(network, ip)) return true;
    return service.balancing.mode == LoadBalancingMode::passthrough &&
           workload->tunnel_protocol == TunnelProtocol::hbone;
}

// O-8: the caller is one of the workloads behind this waypoint, so the waypoint has already been there.
bool from_waypoint(const Directory& directory, const GatewayAddress& waypoint,
                   const OutboundRequest& request) {
    auto is_caller = [&](const WorkloadRecord& workload) {
        return workload.owns(request.caller) && workload.identity() == request.source.identity();
    };
    ServicePtr service;
    WorkloadPtr workload;
    if (const auto* key = std::get_if<ServiceKey>(&waypoint.destination)) {
        service = directory.service(*key);
        if (!service) workload = directory.workload_by_hostname(key->name_space, key->hostname);
    } else {
        const auto& address = std::get<NetworkAddress>(waypoint.destination);
        service = directory.service_at(address.network, address.ip, request.source->name_space);
        if (!service) workload = directory.workload_at(address.network, address.ip);
    }
    if (workload) return is_caller(*workload);
    bool found = false;
    if (service)
        service->endpoints.for_each(
            [&](const WorkloadPtr& endpoint) { found = found || is_caller(*endpoint); });
    return found;
}

// H-15: the workload's own identity, and what the service says its endpoints may be.
std::vector<Identity> accepted_identities(const WorkloadRecord& workload, const Service* service) {
    std::vector<Identity> accepted;
    if (service)
        for (const std::string& name : service->subject_alt_names)
            if (auto identity = Identity::parse(name)) accepted.push_back(*std::move(identity));
    accepted.push_back(workload.identity());
    std::ranges::sort(accepted);
    accepted.erase(std::ranges::unique(accepted).begin(), accepted.end());
    return accepted;
}

// O-10 and O-21: the chosen workload itself, without anything in between.
Outbound reach(Outbound verdict, Address target, std::uint16_t port) {
    const WorkloadRecord& workload = *verdict.workload;
    const Service* service = verdict.service ? verdict.service->value.get() : nullptr;
    bool hbone = workload->tunnel_protocol == TunnelProtocol::hbone;
    std::optional<Ip> ip = choose_ip(workload, service, target.ip);
    if (!ip) {
        if (workload->hostname.empty())
            return refused(std::move(verdict), workload->network_gateway ? Reason::gateway_unsupported
                                                                         : Reason::no_address_of_family);
        if (hbone) return refused(std::move(verdict), Reason::unsupported);
        verdict.way = Outbound::Way::resolve;
        verdict.hostname = workload->hostname;
        verdict.dial = {{}, port};
        return verdict;
    }
    if (ip->is_unspecified()) return refused(std::move(verdict), Reason::loop_to_ourselves);
    if (!hbone) {
        verdict.way = Outbound::Way::direct;
        verdict.dial = {*ip, port};
        return verdict;
    }
    verdict.way = Outbound::Way::hbone;
    verdict.dial = {*ip, hbone_port};
    verdict.authority = {*ip, port};
    verdict.accepted = accepted_identities(workload, service);
    return verdict;
}

bool calls_ztunnel(const Surroundings& around, const OutboundRequest& request) {
    if (request.target.ip.is_unspecified()) return true;  // the kernel would read it as loopback (S2, S8)
    bool own = request.target.ip.is_loopback() || request.source.owns(request.target.ip);
    return own && around.is_ztunnel_port(request.target.port);
}

}  // namespace

bool Surroundings::owns(Ip ip) const {
    auto holds = [ip](const Cidr& range) { return range.contains(ip); };
    return std::ranges::any_of(mesh_ranges, holds) && std::ranges::none_of(external_ranges, holds);
}

bool Surroundings::is_ztunnel_port(std::uint16_t port) const {
    if (capture_ports && port >= 15104 && port < 15104 + 64) return true;  // bpf/abi.h
    return port == 15001 || port == 15006 || port == 15008 || port == 15053 || port == 15080;
}

Outbound decide(const Directory& directory, const Surroundings& around, const OutboundRequest& request,
                Random& random) {
    if (calls_ztunnel(around, request)) return refused({}, Reason::loop_to_ourselves);
    const WorkloadRecord& source = request.source;
    Address target = request.target;

    // Two lookups in two orders: what was addressed is a workload before a service (O-3), where it goes is a
    // service before a workload (O-5).
    WorkloadPtr workload = directory.workload_at(around.network, target.ip);
    Outbound verdict;
    verdict.service = directory.service_at(around.network, target.ip, source->name_space);
    if (workload && verdict.service &&
        keeps_address(*workload, *verdict.service->value, around.network, target.ip))
        verdict.service = nullptr;
    bool service_addressed = verdict.service && !workload;
    if (service_addressed && has_waypoint(*verdict.service->value))
        return refused(std::move(verdict), Reason::waypoint_unsupported);  // O-4: never past it

    std::uint16_t port = target.port;
    if (verdict.service) {
        if (verdict.service->value->balancing.mode == LoadBalancingMode::passthrough)
            return past_the_mesh(directory, around, target, std::move(verdict.service));
        Result<Pick> picked = pick({source, *verdict.service, target.port}, random);
        if (!picked) return refused(std::move(verdict), picked.error().reason);
        verdict.workload = picked->workload;
        port = picked->port;
    } else if (workload) {
        verdict.workload = workload;
    } else {
        return unknown_target(directory, around, target);
    }

    const WorkloadRecord& destination = *verdict.workload;
    if (destination->network != source->network)  // O-7
        return refused(std::move(verdict), Reason::double_tunnel_unsupported);
    if (!service_addressed && destination->waypoint &&
        !from_waypoint(directory, *destination->waypoint, request))
        return refused(std::move(verdict), Reason::waypoint_unsupported);  // O-9
    return reach(std::move(verdict), target, port);
}

}  // namespace culvert::mesh
