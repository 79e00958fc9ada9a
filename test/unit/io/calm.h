// A loop on a simulated network without chance: time is virtual and everything happens at once. For tests of
// the loop, tasks and scopes, where the driver does not matter.
#pragma once
#include "lib/io/sim.h"
#include "test/support/run.h"

#include <catch2/catch.hpp>

namespace culvert::test {

using namespace std::chrono_literals;

inline io::SimOptions no_chance() {
    return {.cut_permille = 0, .full_permille = 0, .delay_permille = 0, .reset_permille = 0};
}

struct Calm {
    io::SimNetwork network{no_chance()};
    io::Loop loop{network.driver(io::SimNetwork::Who::mesh)};
    Instant start = loop.now();
    Duration elapsed() const { return loop.now() - start; }
};

}  // namespace culvert::test
