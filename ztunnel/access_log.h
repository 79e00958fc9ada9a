// One line per connection (wire facts L-1 to L-3), plus `reason` as its last field when it was refused or
// cut.
//
// Target `access`: INFO at a clean end, ERROR with `error` otherwise, DEBUG at the beginning; WARN
// "connection failed" for what ended before it had labels. Under a flood of refusals lines are sampled (S21):
// what LineBudget lets through; the next one that passes says how many did not. Counters are never sampled.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/result.h"

#include <cstdint>
#include <string>
#include <utility>

namespace culvert::ztunnel {

class Connection;

// How many lines of one kind may be written: a burst, then so many a second. A value; time is the caller's.
class LineBudget {
public:
    static constexpr std::uint64_t burst = 1000;  // docs/limits.md: ztunnel.access_log
    static constexpr std::uint64_t a_second = 2000;

    bool take(Instant now);
    // How many it has refused since this was last asked.
    std::uint64_t refused() { return std::exchange(refused_, 0); }

private:
    std::uint64_t left_ = burst;
    std::uint64_t refused_ = 0;
    Instant refilled_at_;
};

class AccessLog {
public:
    void opened(const Connection& connection);
    void ended(const Connection& connection, const Error& how, Instant now);

private:
    LineBudget refusals_;  // clean ends are not limited
};

// The sentence in `error`; Istio's own words where it has some.
std::string error_text(const Error& how);

}  // namespace culvert::ztunnel
