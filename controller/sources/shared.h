// What the rules of several kinds ask for alike: host names won and lost, attached policies, missing
// waypoints. Pure, each question recorded by the caller's Ask.
#pragma once
#include "controller/graph.h"
#include "controller/translate/peer.h"

#include <optional>
#include <string>
#include <vector>

namespace culvert::controller {

// the hosts of the entry that are its own: inside a namespace a Kubernetes Service wins, then the
// oldest entry.
std::vector<std::string> won_hosts(const kube::ServiceEntry& entry, Ask& ask);

// Keys of the policies that a workload with these labels names: AuthorizationPolicies that select it, in the
// order of their keys, then what its PeerAuthentications became.
std::vector<std::string> attached_policies(std::string_view name_space, const kube::Labels& labels, Ask& ask);
// The PeerAuthentications above a workload of that namespace; `workload` stays empty.
translate::PeerInputs peers_above(std::string_view name_space, Ask& ask);

// Decision 12. An object that asks for a waypoint gets none in this version and works at L4, which is
// remarked upon; if a policy is bound to it that only a waypoint can enforce, it gets a reference to one that
// does not exist, which nodes refuse.
std::optional<mesh::GatewayAddress> missing_waypoint(const kube::Metadata& about, kube::Kind kind, Ask& ask,
                                                     std::vector<kube::Problem>& notes);

// The last choice of O-18.
std::string namespace_distribution(std::string_view name_space, Ask& ask);
void check_distribution(const kube::Metadata& about, kube::Kind kind, std::vector<kube::Problem>& notes);

// Neither an alias of a DNS name nor hidden from everyone.
bool is_published(const kube::Service& service);
// Takes out of `out` the addresses that somebody older has: a Service's that of another Service or of a pod,
// a ServiceEntry's that of a pod. A manifest must not draw another's clients.
void give_up_taken(const kube::Metadata& about, kube::Kind kind, const std::string& field, mesh::Service& out,
                   Ask& ask, std::vector<kube::Problem>& notes);

}  // namespace culvert::controller
