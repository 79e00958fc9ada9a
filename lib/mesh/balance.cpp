#include "lib/mesh/balance.h"

#include <algorithm>

namespace culvert::mesh {

namespace {

// O-16: empty equals empty.
bool same(const WorkloadRecord& a, const WorkloadRecord& b, LoadBalancingScope scope) {
    switch (scope) {
    case LoadBalancingScope::region: return a.locality().region == b.locality().region;
    case LoadBalancingScope::zone: return a.locality().zone == b.locality().zone;
    case LoadBalancingScope::subzone: return a.locality().subzone == b.locality().subzone;
    case LoadBalancingScope::node: return a.node() == b.node();
    case LoadBalancingScope::cluster: return a->cluster_id == b->cluster_id;
    case LoadBalancingScope::network: return a->network == b->network;
    }
    return false;
}

bool matches_all(const WorkloadRecord& source, const WorkloadRecord& endpoint,
                 const std::vector<LoadBalancingScope>& preferences) {
    return std::ranges::all_of(preferences,
                               [&](LoadBalancingScope scope) { return same(source, endpoint, scope); });
}

// O-13: something that could be dialled at all.
bool reachable(const WorkloadRecord& source, const WorkloadRecord& endpoint) {
    if (!endpoint.addresses().empty() || !endpoint->hostname.empty()) return true;
    return endpoint->network != source->network && endpoint->network_gateway.has_value();
}

bool healthy_enough(const WorkloadRecord& endpoint, const Service& service) {
    return endpoint.health() == Health::healthy || service.balancing.health == HealthPolicy::allow_all;
}

// Draws one of many seen one after the other, each by its weight, without remembering them.
class WeightedDraw {
public:
    // True: this one is the choice so far.
    bool take(std::uint64_t weight, Random& random) {
        total_ += weight;
        return weight > 0 && random.below(total_) < weight;
    }
    void restart() { total_ = 0; }

private:
    std::uint64_t total_ = 0;
};

}  // namespace

unsigned rank(const WorkloadRecord& source, const WorkloadRecord& endpoint,
              const std::vector<LoadBalancingScope>& preferences) {
    // NETWORK in front weighs more than all others together, and the others are still compared without it.
    bool network_first = !preferences.empty() && preferences.front() == LoadBalancingScope::network;
    unsigned rank = 0;
    if (network_first && same(source, endpoint, LoadBalancingScope::network))
        rank = static_cast<unsigned>(preferences.size());
    for (std::size_t i = network_first ? 1 : 0; i < preferences.size(); ++i) {
        if (!same(source, endpoint, preferences[i])) break;
        ++rank;
    }
    return rank;
}

std::optional<std::uint16_t> target_port(const WorkloadRecord& endpoint, const ServiceRecord& service,
                                         std::uint16_t service_port, bool for_waypoint) {
    bool tunnels = endpoint->application_tunnel.has_value();
    const Ports* own = endpoint.service_ports(service.key);
    if (const Port* port = own ? find_port(*own, service_port) : nullptr; port && port->target_port != 0)
        return port->target_port;
    if (const Port* port = service.value->port(service_port); port && port->target_port != 0)
        return port->target_port;
    if (tunnels && (for_waypoint || endpoint->application_tunnel->port != 0)) return service_port;
    return std::nullopt;
}

std::optional<Ip> choose_ip(const WorkloadRecord& endpoint, const Service* service, Ip target) {
    if (endpoint.owns(target)) return target;
    std::optional<Ip> first;
    for (Ip ip : endpoint.addresses()) {
        if (service && !service->permits(ip)) continue;
        if (ip.is_v4() == target.is_v4()) return ip;
        if (!first) first = ip;
    }
    return first;
}

Result<Pick> pick(const PickRequest& request, Random& random) {
    const Service& service = *request.service.value;
    const auto& preferences = service.balancing.preferences;
    Pick chosen;
    unsigned best_rank = 0;
    bool port_served = service.port(request.service_port) != nullptr;
    WeightedDraw draw;
    request.service.endpoints.for_each([&](const WorkloadPtr& endpoint) {
        auto port = target_port(*endpoint, request.service, request.service_port, request.for_waypoint);
        if (!port) return;
        port_served = true;
        if (!healthy_enough(*endpoint, service) || !reachable(request.source, *endpoint)) return;
        if (service.balancing.mode == LoadBalancingMode::strict &&
            !matches_all(request.source, *endpoint, preferences))
            return;
        if (service.balancing.mode == LoadBalancingMode::failover) {
            unsigned reached = rank(request.source, *endpoint, preferences);
            if (reached < best_rank) return;
            if (reached > best_rank) {
                best_rank = reached;
                draw.restart();
                chosen = {};  // what was drawn so far ranks lower
            }
        }
        if (draw.take(endpoint->kind().capacity, random)) chosen = {endpoint, *port};
    });
    if (!chosen.workload) return refuse(port_served ? Reason::no_healthy_upstream : Reason::no_port_mapping);
    return chosen;
}

}  // namespace culvert::mesh
