#include "agent/capture.h"

#include "agent/links.h"
#include "agent/netlink.h"
#include "agent/os.h"
#include "agent/pod_maps.h"
#include "agent/programs.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <cstring>

namespace culvert::agent {

struct Capture::Inside {
    Inside(PinDirectory directory, Programs loaded)
        : pins(std::move(directory)), programs(std::move(loaded)) {}

    PinDirectory pins;
    Programs programs;
    PodMaps pods{programs};
    std::uint64_t root_id = 0;
    std::uint64_t ztunnel_id = 0;
    Tag lookup_tag{};
    ring_buffer* refusals = nullptr;
    const std::function<void(const Refusal&)>* hearer = nullptr;  // during drain()

    std::string lookup(std::uint64_t cookie) const { return pins.link(lookup_pin(cookie)); }
    ~Inside() { ring_buffer__free(refusals); }
};

namespace {

struct OutcomeName {
    std::string_view word;
    bool refusal;
};
constexpr OutcomeName outcome_names[] = {
#define X(name, word, refusal) {word, refusal},
    CV_OUTCOMES(X)
#undef X
};

Result<Done> fill_set(int map, const std::vector<std::uint64_t>& wanted) {
    std::uint64_t key = 0;
    __u32 present = 1;
    for (std::uint64_t id : wanted)
        if (::bpf_map_update_elem(map, &id, &present, BPF_ANY) != 0)
            return refuse_call("cannot enter a cgroup", errno);
    std::vector<std::uint64_t> stale;
    for (int more = ::bpf_map_get_next_key(map, nullptr, &key); more == 0;
         more = ::bpf_map_get_next_key(map, &key, &key))
        if (std::find(wanted.begin(), wanted.end(), key) == wanted.end()) stale.push_back(key);
    for (std::uint64_t id : stale) (void)::bpf_map_delete_elem(map, &id);
    return Done{};
}

Address address_of(const cv_address& from) {
    auto at = reinterpret_cast<const std::byte*>(from.ip);
    return {Ip::from_bytes(ConstBytes(at, 16)).value_or(Ip()), from.port};
}

// Pods of another layout version go on being captured: entered here before the links change hands (kernel
// contract j). What is the same in all versions is the map's name, its key, and the entry.
Result<std::vector<std::uint64_t>> carry_pods(const std::string& version, PodMaps& to) {
    std::vector<std::uint64_t> carried;
    Result<Fd> from = pinned(version + "/cv_pods");
    if (!from) return carried;  // it never got so far
    std::uint64_t at = 0, next = 0;
    for (int more = ::bpf_map_get_next_key(from->get(), nullptr, &next);
         more == 0 && carried.size() < CV_PODS_MAX; more = ::bpf_map_get_next_key(from->get(), &at, &next)) {
        at = next;
        cv_pod pod{};
        if (::bpf_map_lookup_elem(from->get(), &at, &pod) != 0 || to.find(at)) continue;
        TRY_DONE(to.carry(at, pod));
        carried.push_back(at);
    }
    return carried;
}

int hear_refusal(void* context, void* data, std::size_t size) {
    auto* hearer = static_cast<const std::function<void(const Refusal&)>**>(context);
    if (size < sizeof(cv_refusal) || !*hearer) return 0;
    cv_refusal event{};
    std::memcpy(&event, data, sizeof event);
    if (event.outcome >= CV_OUT_END) return 0;
    (**hearer)({outcome_names[event.outcome].word, event.pod, address_of(event.flow.source),
                address_of(event.flow.destination)});
    return 0;
}

}  // namespace

Capture::Capture(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Capture::~Capture() = default;

Result<std::unique_ptr<Capture>> Capture::start(PinDirectory pins, const Group& root, const Group& ztunnel,
                                                const CaptureOptions& options) {
    if (ztunnel.is_root() || ztunnel.id() == root.id() || !root.contains(ztunnel)) {
        return refuse(Reason::bad_configuration, "ztunnel's cgroup " + ztunnel.path() + " must lie below " +
                                                     root.path() + ", to which capture is attached");
    }
    TRY(Programs programs, Programs::load(pins, options));
    auto inside = std::make_unique<Inside>(std::move(pins), std::move(programs));
    inside->root_id = root.id();
    inside->ztunnel_id = ztunnel.id();
    // Who is exempt, before anything can be captured (kernel fact 16).
    TRY_DONE(fill_set(inside->programs.map("cv_ztunnels"), {ztunnel.id()}));
    TRY_DONE(fill_set(inside->programs.map("cv_pod_groups"), options.pod_groups));
    TRY(Lookup sample, Lookup::load(inside->programs, {}));  // it must load before anybody depends on it
    TRY(inside->lookup_tag, tag_of(sample.program()));

    std::vector<std::uint64_t> carried;
    for (const std::string& version : inside->pins.other_versions()) {
        TRY(std::vector<std::uint64_t> some, carry_pods(version, inside->pods));
        carried.insert(carried.end(), some.begin(), some.end());
    }
    for (const Attachment& one : attachments()) {
        TRY_DONE(attach_to_group(inside->programs.program(one.program), one.to_ztunnel ? ztunnel : root,
                                 inside->pins.link(one.program)));
    }
    for (std::uint64_t cookie : carried) {
        std::optional<cv_pod> pod = inside->pods.find(cookie);
        if (!pod) continue;
        TRY(Lookup lookup, Lookup::load(inside->programs, {pod->id, (pod->flags & pod_bypass) != 0}));
        (void)update_link(inside->lookup(cookie), lookup.program());  // none there: steering is a later step
    }
    for (const std::string& version : inside->pins.other_versions()) PinDirectory::remove_directory(version);

    inside->refusals =
        ring_buffer__new(inside->programs.map("cv_refusals"), hear_refusal, &inside->hearer, nullptr);
    if (!inside->refusals) return refuse_call("cannot open the ring buffer of refusals", errno);
    return std::unique_ptr<Capture>(new Capture(std::move(inside)));
}

KernelFacts Capture::look(const Place& place, const Admission& wanted) {
    KernelFacts facts;
    Result<LinkState> link = look_at_link(inside_->lookup(place.cookie));
    facts.any_lookup = link.has_value();
    std::optional<cv_pod> pod = inside_->pods.find(place.cookie);
    if (!pod) return facts;
    facts.id = pod->id;
    facts.admitted = inside_->pods.is_as_wanted(*pod, wanted);
    facts.captured = (pod->flags & CV_POD_CAPTURE) != 0;
    facts.swept = (pod->flags & pod_swept) != 0;
    facts.cut = (pod->flags & pod_cut) != 0;
    facts.steered = link && link->where == place.inode && link->tag == inside_->lookup_tag &&
                    ((pod->flags & pod_bypass) != 0) == wanted.bypass_inbound;
    facts.announced = inside_->pods.announced(pod->id);
    return facts;
}

Result<Done> Capture::admit(const Place& place, const Admission& wanted) {
    return inside_->pods.write(place.cookie, wanted);
}

Result<Done> Capture::steer(const Place& place, const Admission& wanted) {
    std::optional<cv_pod> pod = inside_->pods.find(place.cookie);
    if (!pod) return refuse(Reason::closed, "the pod is not in the maps");
    TRY(Lookup lookup, Lookup::load(inside_->programs, {pod->id, wanted.bypass_inbound}));
    TRY_DONE(attach_to_netns(lookup.program(), {place.fd, place.inode}, inside_->lookup(place.cookie)));
    return inside_->pods.set_flags(place.cookie, wanted.bypass_inbound ? pod_bypass : 0, pod_bypass);
}

Result<Done> Capture::capture(const Place& place, const Admission& wanted) {
    TRY_DONE(verify());  // without ztunnel's exemption it would be an endless loop (kernel fact 16)
    return inside_->pods.set_flags(place.cookie, CV_POD_CAPTURE | (wanted.dns ? CV_POD_DNS : 0),
                                   CV_POD_DNS | pod_swept | pod_cut);
}

Result<Sweep> Capture::sweep(const Place& place, bool destroy) {
    std::optional<cv_pod> pod = inside_->pods.find(place.cookie);
    if (!pod) return refuse(Reason::closed, "the pod is not in the maps");
    auto at = [](const __u8* ip) {
        return Ip::from_bytes(ConstBytes(reinterpret_cast<const std::byte*>(ip), 16)).value_or(Ip());
    };
    Ip own4 = at(pod->ip4), own6 = at(pod->ip6);
    // Not ztunnel's own, and not what stays inside the pod: loopback, self calls, and connections captured by
    // now, whose peer is the pod's own address (S4).
    auto leaves = [&](const Connection& one) {
        return one.group != inside_->ztunnel_id && !one.peer.ip.is_loopback() &&
               !one.peer.ip.is_unspecified() && one.peer.ip != own4 && one.peer.ip != own6;
    };
    TRY(Cut cut, cut_connections(place.fd, destroy, leaves));
    TRY_DONE(inside_->pods.set_flags(place.cookie, destroy ? pod_swept | pod_cut : pod_swept, 0));
    return Sweep{cut.found, cut.destroyed};
}

Result<Done> Capture::release_capture(const Place& place) {
    return inside_->pods.set_flags(place.cookie, 0, CV_POD_CAPTURE | CV_POD_DNS | pod_swept | pod_cut);
}

Result<Done> Capture::unsteer(const Place& place) {
    detach(inside_->lookup(place.cookie));
    return Done{};
}

Result<Done> Capture::release(const Place& place) { return inside_->pods.erase(place.cookie); }

std::vector<KnownPod> Capture::known() {
    std::vector<KnownPod> all;
    for (std::uint64_t cookie : inside_->pods.cookies()) {
        Result<LinkState> link = look_at_link(inside_->lookup(cookie));
        all.push_back({cookie, inside_->pods.name_of(cookie), link && link->where != 0});
    }
    return all;
}

std::string Capture::name_of(std::uint64_t cookie) {
    return inside_->pods.find(cookie) ? inside_->pods.name_of(cookie) : std::string();
}

void Capture::forget(std::uint64_t cookie) {
    Place nowhere{cookie, 0, -1};
    (void)release_capture(nowhere);
    (void)unsteer(nowhere);
    (void)release(nowhere);
}

Result<Done> Capture::verify() const {
    for (const Attachment& one : attachments()) {
        Result<LinkState> link = look_at_link(inside_->pins.link(one.program));
        if (!link)
            return refuse(Reason::missing_feature, std::string(one.program) + " is not attached any more");
        if (link->where != (one.to_ztunnel ? inside_->ztunnel_id : inside_->root_id))
            return refuse(Reason::missing_feature,
                          std::string(one.program) + " is attached to another cgroup");
        TRY(Tag ours, tag_of(bpf_program__fd(inside_->programs.program(one.program))));
        if (link->tag != ours)
            return refuse(Reason::missing_feature, std::string(one.program) + " is not our program");
    }
    return Done{};
}

std::vector<OutcomeCount> Capture::outcomes() const {
    std::vector<OutcomeCount> counts;
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    for (__u32 key = 0; key < CV_OUT_END; ++key) {
        OutcomeCount one{outcome_names[key].word, outcome_names[key].refusal, 0};
        if (::bpf_map_lookup_elem(inside_->programs.map("cv_counters"), &key, per_cpu.data()) == 0)
            for (std::uint64_t count : per_cpu) one.count += count;
        counts.push_back(one);
    }
    return counts;
}

int Capture::refusals_fd() const { return ring_buffer__epoll_fd(inside_->refusals); }

void Capture::drain(const std::function<void(const Refusal&)>& each) {
    inside_->hearer = &each;
    ring_buffer__consume(inside_->refusals);  // the programs tell at most CV_REFUSALS_PER_SECOND an outcome
    inside_->hearer = nullptr;
}

Result<Done> uninstall_capture(const PinDirectory& pins) {
    // Outbound first, then inbound, then the rest: the reverse order of enrolment.
    const std::vector<Attachment>& all = attachments();
    for (auto one = all.rbegin(); one != all.rend(); ++one)
        if (std::string_view(one->program).starts_with("cv_connect") ||
            std::string_view(one->program).starts_with("cv_send"))
            detach(pins.link(one->program));
    for (const std::string& name : pins.links())
        if (cookie_of_lookup_pin(name)) detach(pins.link(name));
    for (auto one = all.rbegin(); one != all.rend(); ++one) detach(pins.link(one->program));
    return pins.remove_all();
}

}  // namespace culvert::agent
