// Which pods belong in the mesh, and in which order they get there. Pure: facts in, a decision or the next
// step out.
//
// The order is part of security (kernel contract b): maps first, then ztunnel listens, then sk_lookup and the
// capture flag, then what was open before is cut or counted (S4); un-enrolment goes the other way.
// next_step() looks only at facts that were just read from the kernel and from ztunnel's connection, so that
// an agent that restarts in the middle of anything, or a kernel state that somebody changed, ends in the same
// place (docs/decisions: level, not edge).
#pragma once
#include "lib/base/ip.h"
#include "lib/kube/objects.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::agent {

// Istio's labels and annotations (control plane facts 2.1, 2.2, 4.2; wire fact C-13).
enum class Membership : std::uint8_t {
    member,
    not_labelled,        // neither the pod nor its namespace says ambient
    label_none,          // istio.io/dataplane-mode=none on the pod
    host_network,        // lives in the node's namespace: never enrolled
    sidecar,             // sidecar.istio.io/status: a sidecar wins
    namespace_excluded,  // --exclude-namespace
    finished,            // phase Succeeded or Failed
    no_addresses,        // status.podIPs is empty
};
std::string_view word(Membership membership);

struct MembershipOptions {
    std::set<std::string, std::less<>> excluded_namespaces;
    bool dns_capture = true;  // the node's default; ambient.istio.io/dns-capture overrides
};

// What the manifests say of one pod of this node.
struct PodSpec {
    std::string uid;  // metadata.uid; empty: to be made of the namespace's inode (decision 14)
    std::string name_space;
    std::string name;
    std::string service_account;
    std::string netns_path;
    std::vector<Ip> ips;
    std::set<std::uint16_t> probe_ports;  // at most CV_PROBE_PORTS_MAX
    Membership membership = Membership::not_labelled;
    bool dns_capture = true;
    bool bypass_inbound = false;
    bool strict = false;  // a PeerAuthentication demands mTLS of it, on all ports or on one

    std::string key() const { return name_space + "/" + name; }
    bool operator==(const PodSpec&) const = default;
};

// `home`: the pod's Namespace object, or null if there is none.
PodSpec describe(const kube::Pod& pod, const kube::Namespace* home, const MembershipOptions& options);
// STRICT for any port of the pod: workload, then namespace, then mesh (root namespace) (control plane
// facts 3.5).
bool strict_applies(const kube::Pod& pod, const std::vector<const kube::PeerAuthentication*>& policies,
                    std::string_view root_namespace);

// What ztunnel said to the pod's Add on its newest connection.
enum class Ack : std::uint8_t { none, pending, ok, failed };

struct PodFacts {
    bool wanted = false;          // belongs in the mesh now
    bool namespace_open = false;  // its network namespace is known
    bool has_address = false;     // at least one of status.podIPs is really there
    bool admitted = false;        // maps, addresses and probe ports are as they should be
    bool told = false;            // ztunnel's list has it
    Ack ack = Ack::none;
    bool announced = false;    // ztunnel's listeners of every role are in the map
    bool asked_again = false;  // Del and Add were tried for this ztunnel
    bool retry_due = false;    // its refusal is old enough to try again
    bool steered = false;      // sk_lookup is attached to its namespace, and is ours
    bool captured = false;     // flags are as they should be
    bool in_kernel = false;    // anything of it is in the maps or attached
    bool swept = false;        // connections from before were dealt with
};

enum class Step : std::uint8_t {
    wait_for_namespace,
    wait_for_address,
    admit,
    tell_ztunnel,
    wait_for_ztunnel,
    announce_again,
    tell_again,
    wait_for_listeners,
    steer,
    capture,
    sweep,
    enrolled,
    release_capture,
    unsteer,
    untell_ztunnel,
    release,
    out,
};
std::string_view word(Step step);
bool waits(Step step);  // nothing to do until facts change

Step next_step(const PodFacts& facts);

}  // namespace culvert::agent
