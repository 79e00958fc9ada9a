// Service → service; EndpointSlice → the endpoints that are no pods.
#include "controller/rules.h"
#include "controller/sources/shared.h"
#include "controller/translate/entry.h"
#include "controller/translate/service.h"
#include "controller/translate/workload.h"

namespace culvert::controller {
Made derive(const kube::Service& service, Ask& ask) {
    Made made;
    if (!is_published(service)) return made;
    translate::ServiceInputs inputs{service, service_host(service.metadata, ask.mesh()), {}, {}};
    inputs.distribution = namespace_distribution(service.metadata.name_space, ask);
    inputs.waypoint = missing_waypoint(service.metadata, kube::Kind::service, ask, made.notes);
    check_distribution(service.metadata, kube::Kind::service, made.notes);
    if (!service.traffic_distribution.empty() && !translate::known_distribution(service.traffic_distribution))
        made.notes.push_back(note(service.metadata, kube::Kind::service, "spec.trafficDistribution",
                                  "is none of PreferClose, PreferSameZone, PreferSameNode: has no effect"));
    if (!service.headless && service.cluster_ips.empty())
        made.notes.push_back(note(service.metadata, kube::Kind::service, "spec.clusterIPs",
                                  "is missing: the service can be reached by no address",
                                  "write the addresses that the service shall have, or None"));
    mesh::Service out = translate::service(ask.mesh(), inputs);
    give_up_taken(service.metadata, kube::Kind::service, "spec.clusterIPs", out, ask, made.notes);
    made.outputs.emplace_back(std::move(out));
    return made;
}

Made derive(const kube::EndpointSlice& slice, Ask& ask) {
    Made made;
    if (slice.service.empty() || slice.fqdn) return made;
    const auto* service =
        ask.one<kube::Service>(kube::Kind::service, slice.metadata.name_space, slice.service);
    if (!service || service->external_name) return made;
    for (mesh::Workload& one : translate::slice_workloads(ask.mesh(), slice, *service))
        made.outputs.emplace_back(std::move(one));
    return made;
}

}  // namespace culvert::controller
