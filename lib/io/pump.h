// Bytes from one socket to another, as they come: what passthrough and every plain relay is made of.
//
// Bytes go straight from the shared receive buffer into the other socket; only what it refused is copied, and
// then nothing more is read until that has gone: one receive buffer of memory per stalled direction
// (docs/limits.md: io.pump_stalled). The half-close travels behind the data. An end that is no clean end is
// passed on as a reset (S17).
#pragma once
#include "lib/io/scope.h"
#include "lib/io/socket.h"

namespace culvert::io {

// Until `from` has ended cleanly; then `to` has seen its FIN. `moved_bytes` counts along, also when it fails.
Task<Result<Done>> pump(Socket& from, Socket& to, std::uint64_t& moved_bytes);

struct Moved {
    std::uint64_t out_bytes = 0;  // from the first socket to the second
    std::uint64_t back_bytes = 0;
};

// Both directions and a join. The first failure ends both, and both sockets will be reset when they are
// closed.
Task<Result<Done>> relay(Loop& loop, Socket& one, Socket& other, Moved& moved);

}  // namespace culvert::io
