// The one place outside the drivers where the system is asked for time and chance.
#include "lib/base/check.h"
#include "lib/base/clock.h"
#include "lib/base/random.h"

#include <sys/random.h>

namespace culvert {
namespace {

class SystemClock final : public Clock {
public:
    Instant now() const override {
        return {std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())};
    }
    WallTime wall() const override {
        return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
    }
};

}  // namespace

const Clock& system_clock() {
    static const SystemClock clock;
    return clock;
}

std::uint64_t system_seed() {
    std::uint64_t seed = 0;
    check(getrandom(&seed, sizeof seed, 0) == sizeof seed);
    return seed;
}

}  // namespace culvert
