// The driver of production: one io_uring per loop (SINGLE_ISSUER, DEFER_TASKRUN), one ring of 16 receive
// buffers of 256 KB shared by all its sockets, so that an idle socket pins nothing (docs/limits.md:
// io.receive_buffers). Handles are descriptors of the process. May be made by any thread; the first to run a
// turn is its thread from then on.
//
// Sockets are blocking descriptors: calls that must not wait say MSG_DONTWAIT. Cancel is by user data, one
// request per operation (one request for all was measured superlinear).
#pragma once
#include "lib/io/driver.h"

#include <memory>

namespace culvert::io {

struct UringOptions {
    unsigned buffers = 16;  // a power of two
    unsigned buffer_size = 256 << 10;
};

// missing_feature with a sentence that names it: io_uring disabled (kernel.io_uring_disabled, seccomp) or
// older than 6.1.
Result<std::unique_ptr<Driver>> make_uring(const UringOptions& options = {});

}  // namespace culvert::io
