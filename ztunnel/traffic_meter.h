// Whether a link moves bulk just now. A value; counts bytes, and is asked by the pool when it picks a link
// for a new stream.
#pragma once
#include "lib/base/clock.h"

#include <algorithm>
#include <cstdint>

namespace culvert::ztunnel {

class TrafficMeter {
public:
    // Above this a link is better left to whoever fills it: 500 small requests a second are below 1 MB/s, one
    // stream of bulk is above 100.
    static constexpr std::uint64_t busy_bytes_a_second = 16 << 20;

    void add(std::size_t bytes) { moved_ += bytes; }

    // Judged anew when the last look is at least 50 ms ago; what moved in a longer time counts as if moved in
    // one second.
    bool busy(Instant now) {
        Duration since = now - looked_at_;
        if (since >= std::chrono::milliseconds(50)) {
            auto span =
                static_cast<std::uint64_t>(std::min<Duration>(since, std::chrono::seconds(1)).count());
            busy_ = moved_ * 1'000'000'000 / span > busy_bytes_a_second;
            moved_ = 0;
            looked_at_ = now;
        }
        return busy_;
    }

private:
    std::uint64_t moved_ = 0;  // since the last look; a terabyte in nanoseconds still fits
    Instant looked_at_;
    bool busy_ = false;
};

}  // namespace culvert::ztunnel
