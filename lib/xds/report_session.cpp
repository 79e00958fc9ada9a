#include "lib/xds/report_session.h"

#include "lib/base/log.h"

#include <utility>

namespace culvert::xds {

namespace {

PodReport departed(const std::string& uid) {
    PodReport report;
    report.uid = uid;
    report.gone = true;
    return report;
}

}  // namespace

ReportSession::ReportSession(Executor& executor, ReportTransport& transport, std::string node)
    : executor_(executor), transport_(transport), node_(std::move(node)) {}

ReportSession::~ReportSession() = default;

void ReportSession::start() { open(); }

void ReportSession::stop() {
    stopped_ = true;
    if (open_) transport_.close();
}

void ReportSession::set(PodReport pod) {
    auto at = pods_.find(pod.uid);
    if (at != pods_.end() && at->second == pod) return;
    changed_.insert(pod.uid);
    std::string uid = pod.uid;
    pods_.insert_or_assign(std::move(uid), std::move(pod));
    flush();
}

void ReportSession::remove(std::string_view uid) {
    auto at = pods_.find(uid);
    if (at == pods_.end()) return;
    changed_.insert(at->first);
    pods_.erase(at);
    flush();
}

bool ReportSession::in_sync() const { return said_all_ && outstanding_ == 0 && changed_.empty(); }

void ReportSession::open() {
    open_ = true;
    said_all_ = false;
    outstanding_ = 0;
    opened_at_ = executor_.clock().now();
    transport_.open(*this);
    flush();
}

void ReportSession::on_sync(std::function<void(bool)> told) {
    on_sync_ = std::move(told);
    was_in_sync_ = in_sync();
    on_sync_(was_in_sync_);
}

void ReportSession::tell_sync() {
    if (const bool now = in_sync(); std::exchange(was_in_sync_, now) != now) on_sync_(now);
}

void ReportSession::flush() {
    say_what_changed();
    tell_sync();
}

// One report at a time: what changes meanwhile is said once, as it is then.
void ReportSession::say_what_changed() {
    if (!open_ || outstanding_ != 0 || (said_all_ && changed_.empty())) return;
    Report report{node_, !said_all_, ++sequence_, {}};
    if (report.snapshot) {
        for (const auto& [uid, pod] : pods_) report.pods.push_back(pod);
    } else {
        for (const std::string& uid : changed_) {
            auto at = pods_.find(uid);
            if (at != pods_.end()) report.pods.push_back(at->second);
            if (at == pods_.end()) report.pods.push_back(departed(uid));
        }
    }
    changed_.clear();
    said_all_ = true;
    outstanding_ = sequence_;
    transport_.send(std::move(report));
    expect_acknowledgement();
}

// A controller that neither answers nor ends the call must not silence us for ever.
void ReportSession::expect_acknowledgement() {
    executor_.after(acknowledgement_deadline, [this, alive = std::weak_ptr(alive_), sequence = outstanding_] {
        if (!alive.lock() || stopped_ || !open_ || outstanding_ != sequence) return;
        log::warn("report", "not acknowledged in time: begun anew");
        transport_.close();
    });
}

void ReportSession::acknowledged(std::uint64_t sequence) {
    if (stopped_ || sequence != outstanding_) return;
    outstanding_ = 0;
    flush();
}

void ReportSession::closed(StreamEnd end) {
    open_ = false;
    said_all_ = false;
    tell_sync();
    if (stopped_) return;
    Duration wait = reconnect_.after(end, executor_.clock().now() - opened_at_, executor_.random());
    log::warn("report", "stream ended", {log::text("end", word(end.kind)), log::text("error", end.text)});
    executor_.after(wait, [this, alive = std::weak_ptr(alive_)] {
        if (alive.lock() && !stopped_) open();
    });
}

}  // namespace culvert::xds
