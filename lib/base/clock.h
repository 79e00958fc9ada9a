// Time comes from whoever owns the world: io_uring's loop or the simulator. Nothing else may ask the system.
#pragma once
#include <chrono>
#include <compare>

namespace culvert {

using Duration = std::chrono::nanoseconds;

// Monotonic time since an arbitrary start: for deadlines and intervals.
struct Instant {
    Duration since_start{};
    auto operator<=>(const Instant&) const = default;
    friend Instant operator+(Instant at, Duration after) { return {at.since_start + after}; }
    friend Duration operator-(Instant later, Instant earlier) {
        return later.since_start - earlier.since_start;
    }
};

using WallTime = std::chrono::sys_time<Duration>;  // for certificates and log lines

class Clock {
public:
    virtual ~Clock() = default;
    virtual Instant now() const = 0;
    virtual WallTime wall() const = 0;
};

// The machine's clocks; for programs' control sides. Safe from any thread.
const Clock& system_clock();

}  // namespace culvert
