// The Kubernetes and Istio objects that this version reads, as plain values: copyable, comparable, no I/O.
// Decoded by decode.h from manifests (manifests.h) today and from the API server later; everything behind
// does not know which.
//
// Only fields that something uses are kept. Defaults are Kubernetes' own, and those of standalone manifests:
// a pod without a Ready condition counts as ready, a namespaced object without a namespace is in `default`.
// Addresses are parsed; ports are numbers between 1 and 65535; where a name and a number are both possible
// the type says so. Wire facts and the field inventories of Istio's API say which fields matter.
#pragma once
#include "lib/base/ip.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace culvert::kube {

// In the order of `Object`'s alternatives.
enum class Kind : std::uint8_t {
    name_space,
    node,
    pod,
    service,
    endpoint_slice,
    service_entry,
    authorization_policy,
    peer_authentication,
};
inline constexpr std::size_t kinds = 8;
std::string_view word(Kind kind);  // "Namespace", "Pod", ...: as manifests spell it

using Labels = std::map<std::string, std::string, std::less<>>;

// Where an object was written: for messages. The API server's objects have an empty file.
struct Origin {
    std::string file;  // as given by the directory and its entry
    int line = 0;      // of the document's first line, from 1
    auto operator<=>(const Origin&) const = default;
};

struct Owner {
    std::string kind;
    std::string name;
    std::string uid;
    bool controller = false;
    bool operator==(const Owner&) const = default;
};

struct Metadata {
    std::string name;
    std::string name_space;  // empty for Namespace and Node
    std::string uid;         // may be empty in manifests
    Labels labels;
    Labels annotations;
    std::optional<std::int64_t>
        created_s;          // creationTimestamp, seconds since 1970; decides ties (oldest first)
    bool deleting = false;  // has a deletionTimestamp
    std::vector<Owner> owners;
    Origin origin;
    bool operator==(const Metadata&) const = default;
};

enum class Protocol : std::uint8_t { tcp, udp, sctp };

struct Namespace {
    Metadata metadata;
    bool operator==(const Namespace&) const = default;
};

struct Node {
    Metadata metadata;
    std::vector<Ip> addresses;  // status.addresses of type InternalIP, ExternalIP
    bool operator==(const Node&) const = default;
};

struct ContainerPort {
    std::string name;
    std::uint16_t port = 0;
    Protocol protocol = Protocol::tcp;
    bool operator==(const ContainerPort&) const = default;
};

enum class Phase : std::uint8_t { unknown, pending, running, succeeded, failed };

struct Pod {
    Metadata metadata;
    std::string node;             // spec.nodeName
    std::string service_account;  // "default" when not given
    bool host_network = false;
    Phase phase = Phase::running;
    bool ready = true;                    // the Ready condition; none counts as ready (decision 14)
    std::vector<Ip> ips;                  // status.podIPs
    std::vector<std::string> containers;  // names, native sidecars included
    std::vector<ContainerPort> ports;     // of containers and native sidecars
    std::vector<std::uint16_t>
        probe_ports;  // httpGet, tcpSocket and grpc of probes and lifecycle hooks, names resolved (S7)
    bool operator==(const Pod&) const = default;
};

// A targetPort: a number, or the name of a container's port; neither: the service port's own number.
using PortRef = std::variant<std::monostate, std::uint16_t, std::string>;

struct ServicePort {
    std::string name;
    std::uint16_t port = 0;
    PortRef target;
    Protocol protocol = Protocol::tcp;
    std::string app_protocol;
    bool operator==(const ServicePort&) const = default;
};

enum class IpFamilies : std::uint8_t { automatic, ipv4, ipv6, dual };

struct Service {
    Metadata metadata;
    Labels selector;              // empty: endpoints come from EndpointSlices only
    bool external_name = false;   // type ExternalName: never in the mesh (wire fact D-16)
    bool headless = false;        // clusterIP: None
    std::vector<Ip> cluster_ips;  // of both families; empty for headless
    std::vector<ServicePort> ports;
    IpFamilies ip_families = IpFamilies::automatic;
    bool publish_not_ready = false;
    bool internal_traffic_local = false;
    std::string traffic_distribution;  // as written; empty when not given
    bool operator==(const Service&) const = default;
};

struct ObjectRef {
    std::string kind;
    std::string name_space;
    std::string name;
    std::string uid;
    bool operator==(const ObjectRef&) const = default;
};

struct SliceEndpoint {
    std::vector<Ip> addresses;
    bool ready = true;  // not given counts as ready
    std::optional<ObjectRef> target;
    std::string node;
    bool operator==(const SliceEndpoint&) const = default;
};

struct SlicePort {
    std::string name;
    std::optional<std::uint16_t> port;
    Protocol protocol = Protocol::tcp;
    bool operator==(const SlicePort&) const = default;
};

struct EndpointSlice {
    Metadata metadata;
    std::string service;  // label kubernetes.io/service-name; empty: belongs to none
    bool fqdn = false;    // addressType FQDN: carries names, not addresses
    std::vector<SliceEndpoint> endpoints;
    std::vector<SlicePort> ports;
    bool operator==(const EndpointSlice&) const = default;
};

enum class Resolution : std::uint8_t { none, static_, dns, dns_round_robin, dynamic_dns };

struct EntryPort {
    std::string name;
    std::uint16_t port = 0;
    std::string protocol;      // as written, upper case: HTTP, HTTPS, GRPC, TCP, TLS, ...
    std::uint16_t target = 0;  // 0: the same
    bool operator==(const EntryPort&) const = default;
};

// Istio's WorkloadEntry, inline in a ServiceEntry.
struct EntryEndpoint {
    std::string address;  // an IP or a host name; empty with a network: reached through its gateway
    std::map<std::string, std::uint16_t, std::less<>> ports;  // by the service port's name
    Labels labels;
    std::string network;
    std::string locality;      // region/zone/subzone
    std::uint32_t weight = 0;  // 0: not given, counts as 1
    std::string service_account;
    bool operator==(const EntryEndpoint&) const = default;
};

struct ServiceEntry {
    Metadata metadata;
    std::vector<std::string> hosts;
    std::vector<Cidr> addresses;
    std::vector<EntryPort> ports;
    bool mesh_internal = false;  // location MESH_INTERNAL
    Resolution resolution = Resolution::none;
    std::vector<EntryEndpoint> endpoints;
    std::optional<Labels> workload_selector;
    std::vector<std::string> export_to;
    std::vector<std::string> subject_alt_names;
    std::vector<std::pair<std::string, Ip>>
        allocated;  // status.addresses: host and VIP (Istio keeps automatic VIPs there)
    bool operator==(const ServiceEntry&) const = default;
};

enum class PolicyAction : std::uint8_t { allow, deny, audit, custom };

// Values as Istio writes them: "x", "x*", "*x", "*". Lists of one kind are ORed; `not_` ones exclude.
struct Values {
    std::vector<std::string> any;
    std::vector<std::string> not_any;
    bool empty() const { return any.empty() && not_any.empty(); }
    bool operator==(const Values&) const = default;
};
struct Ranges {
    std::vector<Cidr> any;
    std::vector<Cidr> not_any;
    bool empty() const { return any.empty() && not_any.empty(); }
    bool operator==(const Ranges&) const = default;
};
struct Ports {
    std::vector<std::uint16_t> any;
    std::vector<std::uint16_t> not_any;
    bool empty() const { return any.empty() && not_any.empty(); }
    bool operator==(const Ports&) const = default;
};

struct PolicySource {
    Values principals, request_principals, namespaces, service_accounts, trust_domains;
    Ranges ip_blocks, remote_ip_blocks;
    bool operator==(const PolicySource&) const = default;
};
struct PolicyOperation {
    Values hosts, methods, paths;
    Ports ports;
    bool operator==(const PolicyOperation&) const = default;
};
struct PolicyCondition {
    std::string key;
    Values values;
    bool operator==(const PolicyCondition&) const = default;
};
struct PolicyRule {
    std::vector<PolicySource> from;
    std::vector<PolicyOperation> to;
    std::vector<PolicyCondition> when;
    int line = 0;
    bool operator==(const PolicyRule&) const = default;
};

struct AuthorizationPolicy {
    Metadata metadata;
    std::optional<Labels> selector;      // present and empty: all workloads of the namespace
    std::vector<ObjectRef> target_refs;  // targetRef and targetRefs
    PolicyAction action = PolicyAction::allow;
    std::string provider;  // of CUSTOM
    std::vector<PolicyRule> rules;
    bool operator==(const AuthorizationPolicy&) const = default;
};

enum class MtlsMode : std::uint8_t { unset, disable, permissive, strict };

struct PeerAuthentication {
    Metadata metadata;
    std::optional<Labels> selector;
    MtlsMode mode = MtlsMode::unset;
    std::map<std::uint16_t, MtlsMode> port_modes;
    bool operator==(const PeerAuthentication&) const = default;
};

using Object = std::variant<Namespace, Node, Pod, Service, EndpointSlice, ServiceEntry, AuthorizationPolicy,
                            PeerAuthentication>;
using ObjectPtr = std::shared_ptr<const Object>;

// What names an object: one of it is in force at any time.
struct Key {
    Kind kind{};
    std::string name_space;
    std::string name;
    std::string to_string() const;  // "Pod default/web"
    auto operator<=>(const Key&) const = default;
};

inline Kind kind_of(const Object& object) { return static_cast<Kind>(object.index()); }
const Metadata& metadata_of(const Object& object);
Key key_of(const Object& object);

// Every pair of `selector` is among `labels`. An empty selector selects everything: callers who mean
// "nothing" say so.
bool selects(const Labels& selector, const Labels& labels);
// Oldest first: creationTimestamp (none: youngest), then file and line (decision 14).
bool older(const Metadata& a, const Metadata& b);

}  // namespace culvert::kube
