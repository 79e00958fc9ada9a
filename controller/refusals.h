// What the controller refused, by reason: for status and metrics, and a log line for the first of a kind from
// a peer. Safe from any thread; bounded by the closed list of reasons.
#pragma once
#include "lib/base/metrics.h"
#include "lib/base/result.h"

#include <array>
#include <atomic>
#include <string>
#include <utility>
#include <vector>

namespace culvert::controller {

class Refusals {
public:
    explicit Refusals(Registry& metrics) : metrics_(metrics) {}
    // `what` is who asked for what, for the log: "certificate for ... of node n1 (ipv4:10.0.0.1:4711)".
    void count(const Error& why, const std::string& what);
    std::vector<std::pair<std::string, std::uint64_t>> list() const;  // those that happened

private:
    Registry& metrics_;
    std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Reason::last_)> counts_{};
};

}  // namespace culvert::controller
