// A network namespace of the test's own with loopback up; it ends with its descriptor. Needs root.
#pragma once
#include "lib/base/fd.h"

#include <optional>

namespace culvert::test {

// None without CAP_SYS_ADMIN: the test says aloud that it was skipped.
std::optional<Fd> new_netns();

}  // namespace culvert::test
