// The checkers of mesh_sim_test can fail: this program links a data path whose FIN overtakes the data.
#include "test/support/sim_pair.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;

TEST_CASE("a half-close that does not wait for the data is caught", "[sim]") {
    std::size_t broken = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        SimPair pair({.seed = seed, .pipe_bytes = 1000 + seed * 300}, Temper::echo);
        auto visits = visits_of(4, 15'000);
        pair.start(visits);
        REQUIRE(pair.run());
        for (const Visit& each : visits) broken += whole(Temper::echo, each) ? 0 : 1;
        (void)pair.close();
    }
    CHECK(broken > 0);
}
