#include "agent/enrol.h"

#include "bpf/abi.h"

#include <algorithm>

namespace culvert::agent {
namespace {

constexpr std::string_view mode_label = "istio.io/dataplane-mode";
constexpr std::string_view bypass_annotation = "ambient.istio.io/bypass-inbound-capture";
constexpr std::string_view dns_annotation = "ambient.istio.io/dns-capture";
constexpr std::string_view sidecar_annotation = "sidecar.istio.io/status";
constexpr std::string_view netns_annotation = "culvert.io/network-namespace";

std::string_view find(const kube::Labels& labels, std::string_view name) {
    auto at = labels.find(name);
    return at == labels.end() ? std::string_view() : std::string_view(at->second);
}

Membership membership_of(const kube::Pod& pod, const kube::Namespace* home,
                         const MembershipOptions& options) {
    if (pod.host_network) return Membership::host_network;
    if (options.excluded_namespaces.contains(pod.metadata.name_space)) return Membership::namespace_excluded;
    std::string_view own = find(pod.metadata.labels, mode_label);
    if (own == "none") return Membership::label_none;
    bool by_home = home && find(home->metadata.labels, mode_label) == "ambient";
    if (own != "ambient" && !by_home) return Membership::not_labelled;
    if (pod.metadata.annotations.contains(sidecar_annotation)) return Membership::sidecar;
    if (pod.phase == kube::Phase::succeeded || pod.phase == kube::Phase::failed) return Membership::finished;
    if (pod.ips.empty()) return Membership::no_addresses;
    return Membership::member;
}

std::string netns_path_of(const kube::Pod& pod) {
    std::string_view given = find(pod.metadata.annotations, netns_annotation);
    if (!given.empty()) return std::string(given);
    return "/run/netns/" + pod.metadata.name_space + "." + pod.metadata.name;
}

bool has_strict_port(const kube::PeerAuthentication& policy) {
    return std::ranges::any_of(policy.port_modes,
                               [](const auto& port) { return port.second == kube::MtlsMode::strict; });
}

// The oldest policy of its level counts, as in Istio.
const kube::PeerAuthentication* oldest(const kube::PeerAuthentication* a, const kube::PeerAuthentication* b) {
    if (!a) return b;
    return kube::older(b->metadata, a->metadata) ? b : a;
}

}  // namespace

std::string_view word(Membership membership) {
    switch (membership) {
    case Membership::member: return "member";
    case Membership::not_labelled: return "not_labelled";
    case Membership::label_none: return "label_none";
    case Membership::host_network: return "host_network";
    case Membership::sidecar: return "sidecar";
    case Membership::namespace_excluded: return "namespace_excluded";
    case Membership::finished: return "finished";
    case Membership::no_addresses: return "no_addresses";
    }
    return "unknown";
}

PodSpec describe(const kube::Pod& pod, const kube::Namespace* home, const MembershipOptions& options) {
    PodSpec spec;
    spec.uid = pod.metadata.uid;
    spec.name_space = pod.metadata.name_space;
    spec.name = pod.metadata.name;
    spec.service_account = pod.service_account;
    spec.netns_path = netns_path_of(pod);
    spec.ips = pod.ips;
    for (std::uint16_t port : pod.probe_ports)
        if (spec.probe_ports.size() < CV_PROBE_PORTS_MAX) spec.probe_ports.insert(port);
    spec.membership = membership_of(pod, home, options);
    std::string_view dns = find(pod.metadata.annotations, dns_annotation);
    spec.dns_capture = dns.empty() ? options.dns_capture : dns == "true";
    spec.bypass_inbound = find(pod.metadata.annotations, bypass_annotation) == "true";
    return spec;
}

bool strict_applies(const kube::Pod& pod, const std::vector<const kube::PeerAuthentication*>& policies,
                    std::string_view root_namespace) {
    const kube::PeerAuthentication *workload = nullptr, *home = nullptr, *mesh = nullptr;
    for (const kube::PeerAuthentication* policy : policies) {
        const std::string& where = policy->metadata.name_space;
        if (policy->selector && where == pod.metadata.name_space &&
            kube::selects(*policy->selector, pod.metadata.labels))
            workload = oldest(workload, policy);
        if (!policy->selector && where == pod.metadata.name_space) home = oldest(home, policy);
        if (!policy->selector && where == root_namespace) mesh = oldest(mesh, policy);
    }
    if (workload && has_strict_port(*workload)) return true;
    for (const kube::PeerAuthentication* policy : {workload, home, mesh})
        if (policy && policy->mode != kube::MtlsMode::unset) return policy->mode == kube::MtlsMode::strict;
    return false;
}

std::string_view word(Step step) {
    switch (step) {
    case Step::wait_for_namespace: return "waiting_for_namespace";
    case Step::wait_for_address: return "waiting_for_address";
    case Step::admit: return "admitting";
    case Step::tell_ztunnel: return "telling_ztunnel";
    case Step::wait_for_ztunnel: return "waiting_for_ztunnel";
    case Step::announce_again: return "asking_for_listeners";
    case Step::tell_again: return "telling_ztunnel_again";
    case Step::wait_for_listeners: return "waiting_for_listeners";
    case Step::steer: return "steering";
    case Step::capture: return "capturing";
    case Step::sweep: return "sweeping";
    case Step::enrolled: return "enrolled";
    case Step::release_capture: return "releasing_capture";
    case Step::unsteer: return "unsteering";
    case Step::untell_ztunnel: return "untelling_ztunnel";
    case Step::release: return "releasing";
    case Step::out: return "not_enrolled";
    }
    return "unknown";
}

bool waits(Step step) {
    return step == Step::wait_for_namespace || step == Step::wait_for_address ||
           step == Step::wait_for_ztunnel || step == Step::wait_for_listeners || step == Step::enrolled ||
           step == Step::out;
}

namespace {

Step next_step_in(const PodFacts& facts) {
    if (!facts.namespace_open) return Step::wait_for_namespace;
    // An address that went away must leave the map at once (S5), whatever else is missing.
    if (!facts.admitted && (facts.has_address || facts.in_kernel)) return Step::admit;
    if (!facts.has_address && !facts.captured) return Step::wait_for_address;
    if (!facts.told) return Step::tell_ztunnel;
    // Captured without sk_lookup would be a hole for inbound: repaired before anything else is waited for.
    if (facts.captured && !facts.steered) return Step::steer;
    bool asks = facts.ack == Ack::ok && !facts.announced;
    if (asks && !facts.asked_again) return Step::announce_again;
    bool refused = facts.ack == Ack::failed && !facts.announced;
    if (refused && facts.retry_due) return Step::tell_again;
    if (facts.captured) return facts.swept ? Step::enrolled : Step::sweep;
    // After a refusal ztunnel tries by itself and does not say when that worked (Z-7): its listeners in the
    // kernel's map do.
    bool served = facts.ack == Ack::ok || (facts.ack == Ack::failed && facts.announced);
    if (!served) return Step::wait_for_ztunnel;
    if (asks) return Step::wait_for_listeners;
    return facts.steered ? Step::capture : Step::steer;
}

// The reverse order. Each step only if there is something to undo, so that it is right from any state.
Step next_step_out(const PodFacts& facts) {
    if (facts.captured) return Step::release_capture;
    if (facts.steered) return Step::unsteer;
    if (facts.told) return Step::untell_ztunnel;
    if (facts.in_kernel) return Step::release;
    return Step::out;
}

}  // namespace

Step next_step(const PodFacts& facts) { return facts.wanted ? next_step_in(facts) : next_step_out(facts); }

}  // namespace culvert::agent
