// After everything is open the agent keeps four capabilities for good (decision 5): BPF, PERFMON, NET_ADMIN,
// SYS_ADMIN; and SYS_PTRACE where it must read which program a ztunnel is, which the kernel shows of a
// process with other capabilities only to a tracer. The bounding set shrinks too, so that nothing it could
// start would have more.
//
// The calling thread's; call it before other threads are made, they inherit.
#pragma once
#include "lib/base/result.h"

namespace culvert::agent {

Result<Done> drop_privileges(bool keep_ptrace);

}  // namespace culvert::agent
