// Where a coroutine is parked (Wait), and one operation in the hands of the driver (Op).
//
// Both live in the frame of the coroutine that awaits them (or in an owner that outlives it) and refuse to
// die while somebody still points at them: the kernel owns an operation's memory until it completes.
// Cancelling only asks; the operation still completes, with what it really did. One loop's thread only; no
// allocation.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/check.h"
#include "lib/base/ip.h"

#include <cstdint>

namespace culvert::io {

class TaskBase;

// A place in a circular list; alone it points at itself, so that leaving twice is leaving once.
struct Link {
    Link* before = this;
    Link* after = this;

    Link() = default;
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    bool linked() const { return after != this; }
    void join(Link& list) {  // at the list's end
        before = list.before;
        after = &list;
        before->after = after->before = this;
    }
    void leave() {
        before->after = after;
        after->before = before;
        before = after = this;
    }
};

// Stands in the list of the scope that may cancel it (scope.h) from the moment its coroutine is parked until
// it is resumed or the cancel has reached it.
struct Wait : Link {
    enum class Kind : std::uint8_t { recv, send, accept, connect, readable, writable, event, sleep, join };

    explicit Wait(Kind what) : kind(what) {}
    ~Wait() { check(!linked()); }

    TaskBase* task = nullptr;  // who is parked here
    Kind kind;
};

struct Op : Wait {
    bool in_flight = false;
    bool cancel_asked = false;
    std::int16_t buffer = -1;          // recv: which shared buffer the bytes are in, -1: none
    int handle = -1;                   // a socket of this driver
    int result = 0;                    // like the system call: >= 0, or -errno; accept: the new handle
    const std::byte* data = nullptr;   // send: what to send
    std::size_t most = 0;              // recv: at most so many bytes; send: how many
    const Address* address = nullptr;  // connect: where to; lives as long as the operation

    Op(Kind what, int on) : Wait(what), handle(on) {}
    ~Op() { check(!in_flight); }
};

}  // namespace culvert::io
