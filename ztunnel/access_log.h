// One line per connection (wire facts L-1 to L-3), plus `reason` as its last field when it was refused or
// cut.
//
// Target `access`: INFO at a clean end, ERROR with `error` otherwise, DEBUG at the beginning; WARN
// "connection failed" for what ended before it had labels. Under a flood lines are sampled (S21): at most
// lines_burst at once and lines_a_second afterwards per shard; the next line that passes says how many did
// not. Counters are never sampled.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/result.h"

#include <string>

namespace culvert::ztunnel {

class Connection;

class AccessLog {
public:
    static constexpr std::uint64_t lines_burst = 1000;     // docs/limits.md: ztunnel.access_log
    static constexpr std::uint64_t lines_a_second = 2000;  // of refusals; clean ends are not limited

    void opened(const Connection& connection);
    void ended(const Connection& connection, const Error& how, Instant now);

private:
    bool may_write(Instant now);

    std::uint64_t tokens_ = lines_burst;
    std::uint64_t suppressed_ = 0;
    Instant refilled_at_;
};

// The sentence in `error`; Istio's own words where it has some.
std::string error_text(const Error& how);

}  // namespace culvert::ztunnel
