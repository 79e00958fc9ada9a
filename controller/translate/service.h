// Kubernetes Services into WDS services (wire facts O-18, X-15, X-22; control-plane rules for Services).
// Pure.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/objects.h"
#include "lib/mesh/service.h"

#include <optional>
#include <string>
#include <string_view>

namespace culvert::controller::translate {

struct ServiceInputs {
    const kube::Service& service;
    std::string host;
    std::string distribution;  // of the namespace's annotation: the last choice of O-18
    std::optional<mesh::GatewayAddress>
        waypoint;  // decision 12: names a waypoint that does not exist, to refuse
};
mesh::Service service(const Mesh& mesh, const ServiceInputs& inputs);

// O-18: the first of spec, object and namespace that says something. "Any" says: no preference.
mesh::LoadBalancing balancing(std::string_view spec, std::string_view object, std::string_view name_space);
bool known_distribution(std::string_view value);

// appProtocol, else the prefix of the port's name: HTTP11 1, HTTP2 2, GRPC 3, else 0.
std::uint8_t app_protocol(std::string_view declared, std::string_view port_name);

// An annotation or label of an object, "" when there is none.
std::string_view value_of(const kube::Labels& labels, std::string_view name);

inline constexpr std::string_view distribution_annotation = "networking.istio.io/traffic-distribution";
inline constexpr std::string_view export_annotation = "networking.istio.io/exportTo";

}  // namespace culvert::controller::translate
