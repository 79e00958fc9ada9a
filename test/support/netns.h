// A network namespace of the test's own with loopback up; it ends with its descriptor. Needs root.
#pragma once
#include "lib/base/fd.h"

#include <catch2/catch.hpp>

#include <optional>

namespace culvert::test {

// None without CAP_SYS_ADMIN: the test says aloud that it was skipped.
std::optional<Fd> new_netns();

// Leaves the test, aloud, if that was none.
#define CULVERT_SKIP_WITHOUT(netns)                                                                          \
    if (!(netns)) {                                                                                          \
        WARN("skipped: needs root");                                                                         \
        return;                                                                                              \
    }

}  // namespace culvert::test
