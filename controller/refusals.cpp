#include "controller/refusals.h"

#include "lib/base/log.h"

#include <bit>

namespace culvert::controller {

void Refusals::count(const Error& why, const std::string& what) {
    const std::string reason(word(why.reason));
    metrics_
        .counter("culvert_controller_refused", "Requests that the controller refused", {{"reason", reason}})
        .add();
    const std::uint64_t before =
        counts_[static_cast<std::size_t>(why.reason)].fetch_add(1, std::memory_order_relaxed);
    // The 1st, 2nd, 4th, 8th ...: a caller in a loop must not fill the log.
    if (!std::has_single_bit(before + 1)) return;
    log::warn("controller", "refused " + what,
              {log::text("reason", reason), log::text("error", why.text), log::number("times", before + 1)});
}

std::vector<std::pair<std::string, std::uint64_t>> Refusals::list() const {
    std::vector<std::pair<std::string, std::uint64_t>> out;
    for (std::size_t i = 0; i < counts_.size(); ++i)
        if (const std::uint64_t count = counts_[i].load(std::memory_order_relaxed))
            out.emplace_back(word(static_cast<Reason>(i)), count);
    return out;
}

}  // namespace culvert::controller
