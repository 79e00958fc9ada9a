// What the whole mesh has in common, from the controller's flags: a value, set once at start and read by
// every translation.
#pragma once
#include <string>

namespace culvert::controller {

struct Mesh {
    std::string cluster_id = "Kubernetes";
    std::string cluster_domain = "cluster.local";
    std::string trust_domain = "cluster.local";
    std::string root_namespace = "istio-system";
    std::string network;  // of this cluster; "" is the default network
    bool l7_fail_open =
        false;  // decision 12: services keep working at L4 although a policy of theirs needs L7
    bool operator==(const Mesh&) const = default;
};

}  // namespace culvert::controller
