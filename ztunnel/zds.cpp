#include "ztunnel/zds.h"

#include "lib/base/log.h"

#include <fcntl.h>

#include <algorithm>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

constexpr Duration retry_every = 5s;      // Z-7
constexpr Duration backoff_first = 20ms;  // Z-9
constexpr Duration backoff_max = 15s;

// For a later try, if this one fails.
Result<AddedPod> copy(const AddedPod& pod) {
    Fd again(fcntl(pod.network_namespace.get(), F_DUPFD_CLOEXEC, 0));
    if (again.get() < 0) return refuse(Reason::io, errno);
    return AddedPod{pod.uid, pod.name, pod.name_space, pod.service_account, std::move(again)};
}

io::Task<Result<io::Packet>> next_packet(io::PacketSocket& socket) { co_return co_await socket.receive(); }

io::Task<Result<io::Packet>> packet_within(io::Loop& loop, Duration most, io::PacketSocket& socket) {
    co_return co_await io::within(loop, most, next_packet(socket));
}

io::Task<Result<Done>> pause(io::Loop& loop, Duration time) { co_return co_await io::sleep(loop, time); }

bool is_protocol_error(const Error& error) { return error.reason == Reason::bad_input; }

}  // namespace

Zds::Zds(io::Loop& loop, PodKeeper& pods, std::string path, Registry& metrics)
    : loop_(loop), pods_(pods), path_(std::move(path)), waiting_(loop),
      pending_count_(
          metrics.gauge("workload_manager_pending_proxy_count", "Pods whose service has not begun yet")),
      retry_at_(loop.now() + retry_every) {}

void Zds::stop() {
    stopped_ = true;
    waiting_.cancel();
}

io::Task<void> Zds::run() {
    Duration wait = backoff_first;
    while (!stopped_) {
        auto ended = co_await session();
        if (snapshot_) wait = backoff_first;  // it had worked
        snapshot_ = false;
        if (!ended && ended.error().reason == Reason::cancelled) co_return;
        log::warn("zds", "no connection to the agent; pods are served on",
                  {log::text("path", path_),
                   log::text("error", ended ? "the agent closed it" : ended.error().to_string())});
        auto slept = co_await waiting_.run(pause(loop_, wait));
        if (!slept) co_return;
        wait = std::min(2 * wait, backoff_max);
        if (loop_.now() < retry_at_) continue;
        co_await retry();
    }
}

io::Task<Result<Done>> Zds::session() {
    CO_TRY(io::PacketSocket socket, io::PacketSocket::dial(loop_, path_));
    const Buffer hello = zds::hello();
    CO_TRY_DONE(co_await socket.send(hello, -1));
    mentioned_.clear();
    log::info("zds", "connected", {log::text("path", path_)});
    co_return co_await serve(socket);
}

io::Task<Result<Done>> Zds::serve(io::PacketSocket& socket) {
    while (!stopped_) {
        Duration until_retry = std::max<Duration>(retry_at_ - loop_.now(), 1ms);
        auto packet = co_await waiting_.run(packet_within(loop_, until_retry, socket));
        if (!packet && packet.error().reason == Reason::timed_out) {
            co_await retry();
            continue;
        }
        if (!packet) co_return refuse(std::move(packet));
        if (packet->bytes.empty()) co_return Done{};
        Result<Done> done = Done{};
        auto request = zds::parse(packet->bytes, std::move(packet->descriptors));
        if (request)
            done = co_await handle(*std::move(request));
        else
            done = refuse(std::move(request));
        const Buffer answer = zds::response(done                        ? ""
                                            : done.error().text.empty() ? done.error().to_string()
                                                                        : done.error().text);
        CO_TRY_DONE(co_await socket.send(answer, -1));
        if (!done && is_protocol_error(done.error())) co_return done;
    }
    co_return refuse(Reason::cancelled);
}

void Zds::mention(const std::string& uid) {
    if (!snapshot_) mentioned_.insert(uid);
}

io::Task<Result<Done>> Zds::handle(zds::Request request) {
    auto* wanted = std::get_if<zds::Add>(&request);
    if (wanted) co_return co_await add(std::move(wanted->pod));
    if (auto* keep = std::get_if<zds::Keep>(&request)) {
        if (snapshot_) co_return refuse(Reason::bad_input, "KeepWorkload after the snapshot");  // Z-5
        mention(keep->uid);
        co_return Done{};
    }
    if (auto* gone = std::get_if<zds::Delete>(&request)) {
        mentioned_.erase(gone->uid);
        pending_.erase(gone->uid);
        pending_count_.set(static_cast<std::int64_t>(pending_.size()));
        co_return co_await pods_.remove(std::move(gone->uid));
    }
    if (snapshot_) co_return refuse(Reason::bad_input, "a second SnapshotSent");  // Z-5
    co_return co_await snapshot();
}

io::Task<Result<Done>> Zds::add(AddedPod pod) {
    const std::string uid = pod.uid;
    if (pods_.uids().size() + pending_.size() >= pods_max) co_return refuse(Reason::limit, "too many pods");
    mention(uid);
    auto added = co_await begin(std::move(pod));
    pending_count_.set(static_cast<std::int64_t>(pending_.size()));
    if (added) co_return Done{};
    Error error = std::move(added).error();
    error.text = "failure to start proxy : " + error.to_string();      // Z-7
    if (error.reason == Reason::bad_input) error.reason = Reason::io;  // of the pod, not of the protocol
    log::warn("zds", "pod is not served yet", {log::text("uid", uid), log::text("error", error.text)});
    co_return std::unexpected(std::move(error));
}

// Without a descriptor to spare there is no later try of ours: the agent hears of the failure and asks again.
io::Task<Result<Done>> Zds::begin(AddedPod pod) {
    const std::string uid = pod.uid;
    CO_TRY(AddedPod spare, copy(pod));
    auto begun = co_await pods_.add(std::move(pod));
    if (begun)
        pending_.erase(uid);
    else
        pending_.insert_or_assign(uid, std::move(spare));
    co_return begun;
}

// Z-5: who was not mentioned is gone.
io::Task<Result<Done>> Zds::snapshot() {
    std::erase_if(pending_, [this](const auto& each) { return !mentioned_.contains(each.first); });
    for (std::string& uid : pods_.uids()) {
        if (mentioned_.contains(uid)) continue;
        CO_TRY_DONE(co_await pods_.remove(std::move(uid)));
    }
    mentioned_.clear();
    snapshot_ = true;
    pending_count_.set(static_cast<std::int64_t>(pending_.size()));
    co_return Done{};
}

io::Task<void> Zds::retry() {
    retry_at_ = loop_.now() + retry_every;
    std::map<std::string, AddedPod> again;
    again.swap(pending_);
    for (auto& [uid, pod] : again) {
        auto added = co_await add(std::move(pod));
        if (!added && added.error().reason == Reason::cancelled) co_return;
    }
}

}  // namespace culvert::ztunnel
