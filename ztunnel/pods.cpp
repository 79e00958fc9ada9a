#include "ztunnel/pods.h"

#include "lib/base/log.h"
#include "lib/io/address.h"
#include "lib/io/netns.h"
#include "ztunnel/worker.h"

#include <ifaddrs.h>
#include <net/if.h>

#include <functional>

namespace culvert::ztunnel {

struct Pods::Kept {
    std::shared_ptr<const PodInfo> info;
    Fd network_namespace;
    io::NetnsId id;
    Worker* listening = nullptr;
    bool drained = false;
    bool closed = false;
};

namespace {

bool is_link_local(Ip ip) {
    return Cidr::parse("fe80::/10")->contains(ip) || Cidr::parse("169.254.0.0/16")->contains(ip);
}

// What the pod is reached by, for its provisional record (decision 10).
Result<std::vector<Ip>> addresses_here() {
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return refuse(Reason::io, errno);
    std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(all, freeifaddrs);
    std::vector<Ip> out;
    for (const ifaddrs* each = all; each; each = each->ifa_next) {
        if (!each->ifa_addr) continue;
        auto at = io::from_system(*each->ifa_addr);
        if (!at) continue;  // of a link layer
        const Ip ip = at->ip;
        if (!ip.is_loopback() && !is_link_local(ip)) out.push_back(ip);
    }
    return out;
}

}  // namespace

Pods::Pods(io::Loop& loop, std::vector<Worker*> workers, const DoorSettings& doors, Registry& metrics)
    : loop_(loop), workers_(std::move(workers)), doors_(doors),
      active_(metrics.gauge("workload_manager_active_proxy_count", "Pods served")),
      started_(metrics.counter("workload_manager_proxies_started", "Pods whose service began")),
      stopped_(metrics.counter("workload_manager_proxies_stopped", "Pods whose service ended")) {}

Pods::~Pods() = default;

io::Task<Result<Done>> Pods::add(AddedPod spec) {
    CO_TRY(const io::NetnsId id, io::netns_id(spec.network_namespace.get()));
    auto known = pods_.find(spec.uid);
    if (known != pods_.end()) {
        if (known->second->id == id) co_return Done{};
        std::string uid = spec.uid;  // Z-6: another namespace replaces the pod
        CO_TRY_DONE(co_await remove(std::move(uid)));
    }
    auto kept = std::make_unique<Kept>();
    kept->id = id;
    kept->network_namespace = std::move(spec.network_namespace);
    const io::Namespace where{kept->network_namespace.get()};
    CO_TRY(std::vector<Ip> addresses, io::inside(where, addresses_here));
    kept->info = std::make_shared<const PodInfo>(PodInfo{.uid = spec.uid,
                                                         .name = std::move(spec.name),
                                                         .name_space = std::move(spec.name_space),
                                                         .service_account = std::move(spec.service_account),
                                                         .where = where,
                                                         .addresses = std::move(addresses),
                                                         .real_client = doors_.announce});
    kept->listening = workers_[std::hash<std::string>{}(spec.uid) % workers_.size()];
    Result<Done> opened = co_await open(*kept);
    if (!opened) {
        auto closed = co_await close(*kept, Reason::pod_removed);
        if (!closed) {
            kept->id = {};  // not the one it asks for: whoever names the pod again ends this one first
            pods_.insert_or_assign(spec.uid, std::move(kept));
        }
        co_return opened;
    }
    log::info("pods", "serving",
              {log::text("pod", kept->info->name), log::text("namespace", kept->info->name_space),
               log::text("uid", spec.uid)});
    pods_.insert_or_assign(spec.uid, std::move(kept));
    started_.add();
    active_.set(static_cast<std::int64_t>(pods_.size()));
    co_return Done{};
}

// A door on every worker first, so that nothing that is accepted finds none.
io::Task<Result<Done>> Pods::open(Kept& pod) {
    const std::string& uid = pod.info->uid;
    for (Worker* worker : workers_) {
        CO_TRY_DONE(co_await worker->open_door(loop_, pod.info));
    }
    co_return co_await pod.listening->listen(loop_, uid, doors_);
}

// The listening worker first: from then on nothing new comes. Returns when everything has really ended.
io::Task<Result<Done>> Pods::close(Kept& pod, Reason why) {
    const std::string& uid = pod.info->uid;
    CO_TRY_DONE(co_await pod.listening->close_door(loop_, uid, why));
    for (Worker* worker : workers_) {
        CO_TRY_DONE(co_await worker->close_door(loop_, uid, why));
    }
    co_return Done{};
}

io::Task<Result<Done>> Pods::remove(std::string uid) {
    auto found = pods_.find(uid);
    if (found == pods_.end()) co_return Done{};
    Kept& kept = *found->second;
    CO_TRY_DONE(co_await close(kept, Reason::pod_removed));
    stopped_.add();
    log::info("pods", "no longer serving", {log::text("pod", kept.info->name), log::text("uid", uid)});
    pods_.erase(uid);
    active_.set(static_cast<std::int64_t>(pods_.size()));
    co_return Done{};
}

std::vector<std::string> Pods::uids() const {
    std::vector<std::string> out;
    for (const auto& [uid, kept] : pods_) out.push_back(uid);
    return out;
}

// All pods at once: each waits a moment for its accept queues to run dry.
io::Task<Result<Done>> Pods::drain() {
    io::Scope draining(loop_);
    bool all = true;
    for (const auto& [uid, kept] : pods_) all = draining.start(drain_one(*kept)) && all;
    co_await draining.join();
    for (const auto& [uid, kept] : pods_) all = all && kept->drained;
    if (!all) co_return refuse(Reason::limit);
    co_return Done{};
}

io::Task<void> Pods::drain_one(Kept& pod) {
    const std::string& uid = pod.info->uid;
    auto stopped = co_await pod.listening->stop_listening(loop_, uid);
    if (!stopped) co_return;
    for (Worker* worker : workers_) worker->drain(uid);
    pod.drained = true;
}

io::Task<Result<Done>> Pods::cut_all(Reason why) {
    io::Scope closing(loop_);
    bool all = true;
    for (const auto& [uid, kept] : pods_) all = closing.start(end_one(*kept, why)) && all;
    co_await closing.join();
    std::erase_if(pods_, [](const auto& each) { return each.second->closed; });
    if (!all || !pods_.empty()) co_return refuse(Reason::limit);
    co_return Done{};
}

io::Task<void> Pods::end_one(Kept& pod, Reason why) {
    auto closed = co_await close(pod, why);
    pod.closed = closed.has_value();
}

std::vector<std::shared_ptr<const PodInfo>> Pods::list() const {
    std::vector<std::shared_ptr<const PodInfo>> out;
    for (const auto& [uid, kept] : pods_) out.push_back(kept->info);
    return out;
}

}  // namespace culvert::ztunnel
