// Tells the controller which pods of this node are enrolled (decision 9): keeps the whole picture, says all
// of it at the start of each stream and what changed afterwards, one report on its way at a time. Lives on
// its executor.
//
// The picture is bounded by the pods of the node.
#pragma once
#include "lib/xds/executor.h"
#include "lib/xds/transport.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace culvert::xds {

// A report that is not acknowledged within this time: the stream is begun anew (docs/limits.md:
// report.acknowledgement).
inline constexpr Duration acknowledgement_deadline = std::chrono::seconds(30);

class ReportSession final : ReportTransport::Events {
public:
    ReportSession(Executor& executor, ReportTransport& transport, std::string node);
    ~ReportSession();
    ReportSession(const ReportSession&) = delete;

    void start();
    void stop();

    void set(PodReport pod);  // replaces what was said of this uid
    void remove(std::string_view uid);
    bool in_sync() const;  // the controller has acknowledged everything
    // Told at once, and whenever it changes.
    void on_sync(std::function<void(bool in_sync)> told);

private:
    void acknowledged(std::uint64_t sequence) override;
    void closed(StreamEnd end) override;
    void open();
    void flush();
    void expect_acknowledgement();
    void say_what_changed();
    void tell_sync();

    Executor& executor_;
    ReportTransport& transport_;
    std::string node_;
    std::map<std::string, PodReport, std::less<>> pods_;
    std::set<std::string, std::less<>> changed_;  // not yet said on this stream
    Reconnect reconnect_;
    Instant opened_at_;
    std::uint64_t sequence_ = 0;
    std::uint64_t outstanding_ = 0;  // 0: none
    bool open_ = false;
    bool said_all_ = false;
    bool stopped_ = false;
    bool was_in_sync_ = false;
    std::function<void(bool)> on_sync_ = [](bool) {};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace culvert::xds
