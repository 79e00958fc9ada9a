#include "agent/pods.h"

#include "agent/netlink.h"
#include "agent/os.h"
#include "bpf/abi.h"

#include <algorithm>
#include <sys/stat.h>

namespace culvert::agent {
namespace {

bool all_announced(const KernelFacts& kernel) {
    return std::ranges::all_of(
        std::initializer_list<std::uint32_t>{CV_ROLE_OUTBOUND, CV_ROLE_INBOUND, CV_ROLE_HBONE},
        [&](std::uint32_t role) { return kernel.announced.contains(role); });
}

Workload workload_of(const Pod& pod) {
    return {pod.uid, pod.spec.name, pod.spec.name_space, pod.spec.service_account};
}

bool destroys(const Pod& pod, Sweeping sweeping) {
    return sweeping == Sweeping::always || (sweeping == Sweeping::strict && pod.spec.strict);
}

Result<Done> sweep(Pod& pod, Kernel& kernel, Sweeping sweeping) {
    TRY(pod.swept, kernel.sweep(pod.place(), destroys(pod, sweeping)));
    return Done{};
}

Result<Done> take(Step step, Pod& pod, Kernel& kernel, Ztunnels& ztunnels, const Circumstances& now) {
    switch (step) {
    case Step::admit: return kernel.admit(pod.place(), pod.admission());
    case Step::tell_ztunnel: ztunnels.tell(workload_of(pod), pod.netns.get()); return Done{};
    case Step::announce_again:
        pod.asked_connection = ztunnels.answer(pod.uid).connection;
        ztunnels.ask_again(pod.uid);
        return Done{};
    case Step::tell_again:
        pod.retry_at.reset();
        pod.retry_wait = std::min(pod.retry_wait * 2, longest_retry);
        ztunnels.ask_again(pod.uid);
        return Done{};
    case Step::steer: return kernel.steer(pod.place(), pod.admission());
    case Step::capture: return kernel.capture(pod.place(), pod.admission());
    case Step::sweep: return sweep(pod, kernel, now.sweeping);
    case Step::release_capture: return kernel.release_capture(pod.place());
    case Step::unsteer: return kernel.unsteer(pod.place());
    case Step::untell_ztunnel: ztunnels.untell(pod.uid); return Done{};
    case Step::release: return kernel.release(pod.place());
    case Step::wait_for_namespace:
    case Step::wait_for_address:
    case Step::wait_for_ztunnel:
    case Step::wait_for_listeners:
    case Step::enrolled:
    case Step::out: return Done{};
    }
    return Done{};
}

// A refusal is waited out from when it was first seen; success starts the waits over.
bool retry_is_due(Pod& pod, Ack ack, Instant now) {
    if (ack == Ack::ok) pod.retry_wait = first_retry;
    if (ack != Ack::failed) pod.retry_at.reset();
    if (ack == Ack::failed && !pod.retry_at) pod.retry_at = now + pod.retry_wait;
    return pod.retry_at && now >= *pod.retry_at;
}

std::string why_it_waits(const Pod& pod, const Ztunnels& ztunnels) {
    switch (pod.step) {
    case Step::wait_for_namespace:
        if (!pod.kept_out.empty()) return pod.kept_out;
        return "no network namespace at " + pod.spec.netns_path;
    case Step::wait_for_address: return "its namespace has none of the addresses in status.podIPs";
    case Step::wait_for_ztunnel: {
        ZtunnelAnswer answer = ztunnels.answer(pod.uid);
        if (answer.ack == Ack::failed) return "ztunnel refuses it: " + answer.error;
        return answer.connection ? "ztunnel has not answered yet" : "no ztunnel is connected";
    }
    case Step::wait_for_listeners: return "ztunnel announced no listeners: it does not run in its cgroup";
    case Step::enrolled:
        if (pod.facts.announced) return {};
        if (pod.facts.ack == Ack::failed) return "ztunnel refuses it: " + ztunnels.answer(pod.uid).error;
        return "ztunnel does not listen: its connections are refused";
    default: return {};
    }
}

}  // namespace

Admission Pod::admission() const {
    Admission now;
    now.name = spec.key();
    now.probe_ports = spec.probe_ports;
    now.dns = spec.dns_capture;
    now.bypass_inbound = spec.bypass_inbound;
    // The first of each family counts; one that is not there any more does not (S5).
    for (const Ip& ip : spec.ips) {
        if (std::ranges::find(found, ip) == found.end()) continue;
        Ip& slot = ip.is_v4() ? now.ip4 : now.ip6;
        if (slot.is_unspecified()) slot = ip;
    }
    return now;
}

std::string Pod::why_outside() const {
    if (spec.membership != Membership::member) return std::string(word(spec.membership));
    if (!error.empty()) return error;
    return step == Step::enrolled ? std::string() : std::string(word(step));
}

void Pod::forget_place() {
    Pod fresh;
    fresh.spec = std::move(spec);
    fresh.wanted = wanted;
    *this = std::move(fresh);
}

Result<Done> open_namespace(Pod& pod) {
    struct stat about{};
    if (::stat(pod.spec.netns_path.c_str(), &about) != 0) return refuse(Reason::closed);
    // `ip netns add` makes the file a moment before it is a namespace: until then it is not one.
    Result<Fd> fd = io::open_netns(pod.spec.netns_path);
    if (!fd) return refuse(Reason::closed);
    TRY(pod.netns_id, io::netns_id(fd->get()));
    TRY(pod.cookie, cookie_of(fd->get()));
    TRY(pod.watch, watch_addresses(fd->get()));  // before the first look, so that no change is missed
    pod.netns = std::move(*fd);
    pod.uid = pod.spec.uid.empty() ? pod.spec.key() + "@" + std::to_string(pod.netns_id.inode) : pod.spec.uid;
    read_addresses(pod);
    return Done{};
}

bool namespace_changed(const Pod& pod) {
    struct stat about{};
    if (::stat(pod.spec.netns_path.c_str(), &about) != 0) return true;
    return about.st_ino != pod.netns_id.inode || about.st_dev != pod.netns_id.device;
}

void read_addresses(Pod& pod) {
    drain_events(pod.watch.get());
    Result<std::vector<Ip>> found = addresses_of(pod.netns.get());
    // Not knowing is not having: connects are refused rather than sent to an address that may be gone.
    pod.found = found ? std::move(*found) : std::vector<Ip>();
}

PodFacts facts_of(Pod& pod, Kernel& kernel, const Ztunnels& ztunnels, const Circumstances& now) {
    PodFacts facts;
    facts.wanted = pod.wanted;
    facts.namespace_open = pod.netns.open();
    if (!facts.namespace_open) return facts;
    Admission wanted = pod.admission();
    ZtunnelAnswer answer = ztunnels.answer(pod.uid);
    pod.kernel = kernel.look(pod.place(), wanted);
    facts.has_address = !wanted.ip4.is_unspecified() || !wanted.ip6.is_unspecified();
    facts.admitted = pod.kernel.admitted;
    facts.told = ztunnels.told(pod.uid);
    facts.ack = answer.ack;
    facts.announced = all_announced(pod.kernel);
    facts.retry_due = retry_is_due(pod, answer.ack, now.time);
    facts.asked_again = answer.connection != 0 && answer.connection == pod.asked_connection;
    facts.steered = pod.wanted ? pod.kernel.steered : pod.kernel.any_lookup;
    facts.captured = pod.kernel.captured;
    facts.in_kernel = pod.kernel.id != 0;
    // STRICT that comes after enrolment cuts what was only counted then (S4).
    facts.swept = destroys(pod, now.sweeping) ? pod.kernel.cut : pod.kernel.swept;
    return facts;
}

Step advance(Pod& pod, Kernel& kernel, Ztunnels& ztunnels, const Circumstances& now) {
    pod.error.clear();
    // Every step changes a fact; a kernel that says otherwise must not keep us here. There are 17 steps.
    for (int taken = 0; taken < 17; ++taken) {
        pod.facts = facts_of(pod, kernel, ztunnels, now);
        pod.step = next_step(pod.facts);
        if (waits(pod.step)) break;
        Result<Done> done = take(pod.step, pod, kernel, ztunnels, now);
        if (!done) {
            pod.error = std::string(word(pod.step)) + ": " + done.error().to_string();
            return pod.step;
        }
    }
    pod.error = why_it_waits(pod, ztunnels);
    return pod.step;
}

}  // namespace culvert::agent
