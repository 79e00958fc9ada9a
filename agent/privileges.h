// After everything is open the agent keeps four capabilities for good (decision 5): BPF, PERFMON, NET_ADMIN,
// SYS_ADMIN; and SYS_PTRACE where it must read which program a ztunnel is, which the kernel shows of a
// process with other capabilities only to a tracer. The bounding set shrinks too, so that nothing it could
// start would have more.
//
// Capabilities are a thread's, and inherited by the threads that it makes: main() makes the log's writer in a
// thread that kept none, all others are made after drop_privileges().
#pragma once
#include "lib/base/result.h"

#include <span>

namespace culvert::agent {

// Of the calling thread; by number (CAP_BPF ..).
Result<Done> keep_capabilities(std::span<const int> kept);

Result<Done> drop_privileges(bool keep_ptrace);

}  // namespace culvert::agent
