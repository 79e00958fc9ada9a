#include "agent/pod_maps.h"

#include "agent/os.h"

#include <array>
#include <bpf/bpf.h>
#include <cerrno>
#include <cstring>

namespace culvert::agent {
namespace {

constexpr std::array<__u8, 16> no_ip{};

void copy_ip(__u8* to, const Ip& ip) {
    // An absent address is all zero: the unspecified IPv4 address in its mapped form would not be.
    if (ip.is_unspecified())
        std::memset(to, 0, 16);
    else
        std::memcpy(to, ip.mapped().data(), 16);
}

bool same_ip(const __u8* held, const Ip& ip) {
    __u8 wanted[16];
    copy_ip(wanted, ip);
    return std::memcmp(held, wanted, 16) == 0;
}

struct Inner {
    const char* outer;
    const char* name;
    __u32 value_size;
    __u32 entries;
};
constexpr Inner inner_maps[] = {
    {"cv_records", "cv_records_of", sizeof(cv_record), CV_RECORDS_MAX},
    {"cv_pendings", "cv_pendings_of", sizeof(cv_pending), CV_PENDINGS_MAX},
    {"cv_approvals", "cv_approvals_of", sizeof(cv_approval), CV_APPROVALS_MAX},
};

}  // namespace

std::optional<cv_pod> PodMaps::find(std::uint64_t cookie) const {
    cv_pod pod{};
    if (::bpf_map_lookup_elem(programs_.map("cv_pods"), &cookie, &pod) != 0) return std::nullopt;
    return pod;
}

std::vector<std::uint64_t> PodMaps::cookies() const {
    std::vector<std::uint64_t> found;
    std::uint64_t at = 0, next = 0;
    int map = programs_.map("cv_pods");
    for (int more = ::bpf_map_get_next_key(map, nullptr, &next); more == 0 && found.size() < CV_PODS_MAX;
         more = ::bpf_map_get_next_key(map, &at, &next)) {
        found.push_back(next);
        at = next;
    }
    return found;
}

std::string PodMaps::name_of(std::uint64_t cookie) const {
    cv_name name{};
    if (::bpf_map_lookup_elem(programs_.map("cv_names"), &cookie, &name) != 0) return {};
    auto text = reinterpret_cast<const char*>(name.text);
    return std::string(text, ::strnlen(text, sizeof name.text));
}

bool PodMaps::is_as_wanted(const cv_pod& pod, const Admission& wanted) const {
    auto ports = ports_.find(pod.id);
    bool dns_right = !(pod.flags & CV_POD_CAPTURE) || ((pod.flags & CV_POD_DNS) != 0) == wanted.dns;
    return same_ip(pod.ip4, wanted.ip4) && same_ip(pod.ip6, wanted.ip6) && dns_right &&
           ports != ports_.end() && ports->second == wanted.probe_ports;
}

std::set<std::uint32_t> PodMaps::announced(std::uint32_t id) const {
    std::set<std::uint32_t> roles;
    for (__u16 role = 1; role < CV_ROLE_END; ++role)
        for (__u16 slot = 0; slot < CV_SLOTS; ++slot) {
            cv_listener_key key{id, role, slot};
            std::uint64_t socket = 0;
            if (::bpf_map_lookup_elem(programs_.map("cv_listeners"), &key, &socket) == 0) roles.insert(role);
        }
    return roles;
}

Result<std::uint32_t> PodMaps::free_slot() const {
    std::set<std::uint32_t> taken;
    for (std::uint64_t cookie : cookies())
        if (auto pod = find(cookie)) taken.insert(pod->id);
    for (std::uint32_t id = 1; id < CV_PODS_MAX; ++id)
        if (!taken.contains(id)) return id;
    return refuse(Reason::limit,
                  "this node has " + std::to_string(CV_PODS_MAX - 1) + " enrolled pods already");
}

Result<Done> PodMaps::fill_slot(std::uint32_t id) const {
    clear_listeners(id);  // of whoever had the slot before: its listeners live in another namespace
    for (const Inner& inner : inner_maps) {
        bpf_map_create_opts options{};
        options.sz = sizeof options;
        options.map_flags = BPF_F_NO_PREALLOC;
        Fd fresh(::bpf_map_create(BPF_MAP_TYPE_HASH, inner.name, sizeof(cv_flow), inner.value_size,
                                  inner.entries, &options));
        int fd = fresh.get();
        if (!fresh.open() || ::bpf_map_update_elem(programs_.map(inner.outer), &id, &fd, BPF_ANY) != 0)
            return refuse_call(std::string("cannot make a pod's ") + inner.outer, errno);
    }
    return Done{};
}

Result<Done> PodMaps::put(std::uint64_t cookie, const cv_pod& pod) const {
    if (::bpf_map_update_elem(programs_.map("cv_pods"), &cookie, &pod, BPF_ANY) != 0)
        return refuse_call("cannot enter a pod", errno);
    return Done{};
}

Result<Done> PodMaps::write(std::uint64_t cookie, const Admission& wanted) {
    std::optional<cv_pod> before = find(cookie);
    cv_pod pod = before.value_or(cv_pod{});
    copy_ip(pod.ip4, wanted.ip4);
    copy_ip(pod.ip6, wanted.ip6);
    bool dns = (pod.flags & CV_POD_CAPTURE) && wanted.dns;
    pod.flags = dns ? pod.flags | CV_POD_DNS : pod.flags & ~CV_POD_DNS;
    if (before) {
        // An address that is gone leaves at once: a redirect to it could leave the pod (S5).
        TRY_DONE(put(cookie, pod));
        if (std::memcmp(before->ip4, pod.ip4, 16) != 0) clear_local(before->ip4, pod.id);
        if (std::memcmp(before->ip6, pod.ip6, 16) != 0) clear_local(before->ip6, pod.id);
    } else {
        TRY(pod.id, free_slot());
        TRY_DONE(fill_slot(pod.id));
    }
    TRY_DONE(write_ports(pod.id, wanted.probe_ports));
    write_name(cookie, wanted.name);
    set_local(pod, pod.ip4);
    set_local(pod, pod.ip6);
    return put(cookie, pod);
}

Result<Done> PodMaps::carry(std::uint64_t cookie, const cv_pod& pod) {
    TRY_DONE(fill_slot(pod.id));
    set_local(pod, pod.ip4);
    set_local(pod, pod.ip6);
    return put(cookie, pod);
}

Result<Done> PodMaps::set_flags(std::uint64_t cookie, std::uint32_t set, std::uint32_t clear) {
    std::optional<cv_pod> pod = find(cookie);
    if (!pod) return refuse(Reason::closed, "the pod is not in the maps");
    pod->flags = (pod->flags & ~clear) | set;
    return put(cookie, *pod);
}

Result<Done> PodMaps::erase(std::uint64_t cookie) {
    std::optional<cv_pod> pod = find(cookie);
    if (!pod) return Done{};
    if (::bpf_map_delete_elem(programs_.map("cv_pods"), &cookie) != 0)
        return refuse_call("cannot take a pod out", errno);
    (void)::bpf_map_delete_elem(programs_.map("cv_names"), &cookie);
    clear_local(pod->ip4, pod->id);
    clear_local(pod->ip6, pod->id);
    clear_ports(pod->id);
    ports_.erase(pod->id);
    clear_listeners(pod->id);
    for (const Inner& inner : inner_maps) (void)::bpf_map_delete_elem(programs_.map(inner.outer), &pod->id);
    return Done{};
}

Result<Done> PodMaps::write_ports(std::uint32_t id, const std::set<std::uint16_t>& ports) {
    clear_ports(id);
    __u32 declared = 1;
    for (std::uint16_t port : ports) {
        cv_probe_port key{id, port};
        if (::bpf_map_update_elem(programs_.map("cv_probe_ports"), &key, &declared, BPF_ANY) != 0)
            return refuse_call("cannot enter a probe port", errno);
    }
    ports_[id] = ports;
    return Done{};
}

// For people and for an agent that restarts: its lack harms nothing.
void PodMaps::write_name(std::uint64_t cookie, const std::string& text) const {
    cv_name name{};
    std::memcpy(name.text, text.data(), std::min(text.size(), sizeof name.text - 1));
    (void)::bpf_map_update_elem(programs_.map("cv_names"), &cookie, &name, BPF_ANY);
}

void PodMaps::clear_ports(std::uint32_t id) const {
    int map = programs_.map("cv_probe_ports");
    std::vector<cv_probe_port> mine;
    cv_probe_port at{}, next{};
    for (int more = ::bpf_map_get_next_key(map, nullptr, &next); more == 0;
         more = ::bpf_map_get_next_key(map, &at, &next)) {
        if (next.pod == id) mine.push_back(next);
        at = next;
    }
    for (const cv_probe_port& key : mine) (void)::bpf_map_delete_elem(map, &key);
}

void PodMaps::set_local(const cv_pod& pod, const __u8* ip) const {
    if (std::memcmp(ip, no_ip.data(), 16) == 0) return;
    // Without it the node's probes go through ztunnel like anybody's: closed, and seen in the counters.
    (void)::bpf_map_update_elem(programs_.map("cv_local"), ip, &pod.id, BPF_ANY);
}

void PodMaps::clear_local(const __u8* ip, std::uint32_t id) const {
    __u32 owner = 0;
    int map = programs_.map("cv_local");
    // Another pod may have the address by now.
    if (::bpf_map_lookup_elem(map, ip, &owner) == 0 && owner == id) (void)::bpf_map_delete_elem(map, ip);
}

void PodMaps::clear_listeners(std::uint32_t id) const {
    for (__u16 role = 1; role < CV_ROLE_END; ++role) {
        for (__u16 slot = 0; slot < CV_SLOTS; ++slot) {
            cv_listener_key key{id, role, slot};
            (void)::bpf_map_delete_elem(programs_.map("cv_listeners"), &key);
        }
        cv_listener_key order{id, role, 0};
        (void)::bpf_map_delete_elem(programs_.map("cv_newest"), &order);
    }
    __u32 usual = 0;
    (void)::bpf_map_update_elem(programs_.map("cv_dns_ports"), &id, &usual, BPF_ANY);
}

}  // namespace culvert::agent
