// One operation in the hands of the driver. It lives in the frame of the coroutine that awaits it (or in an owner that
// outlives it), knows whether it is in flight, and refuses to die while it is: the kernel owns its buffer until it
// completes. Cancelling only asks; the operation still completes, with what it really did.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/check.h"
#include "lib/base/ip.h"

#include <coroutine>
#include <cstdint>

namespace culvert::io {

struct Op {
    enum class Kind : std::uint8_t { recv, send, accept, connect, readable };

    Kind kind = Kind::recv;
    bool in_flight = false;
    int handle = -1;               // a socket of this driver
    ConstBytes data;               // send: what to send
    std::size_t most = 0;          // recv: at most so many bytes
    Address address;               // connect: where to
    int result = 0;                // like the system call: >= 0, or -errno; accept: the new handle
    int buffer = -1;               // recv: which shared buffer the bytes are in, -1: none
    std::coroutine_handle<> waiter;
    Op* before = nullptr;          // the driver's list of what is in flight
    Op* after = nullptr;

    Op() = default;
    Op(const Op&) = delete;
    Op& operator=(const Op&) = delete;
    ~Op() { check(!in_flight); }
};

}  // namespace culvert::io
