// ztunnel's connection to the app inside a pod, on behalf of a client somewhere else (decision 2, S3): bound
// to loopback, with the real client told to the kernel, and confirmed to be what the app sees before it is
// handed out.
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class Connection;

// To connection.next_hop for connection.source. Refusals: connect_refused, connect_timed_out, unreachable,
// ..., client_not_bound.
io::Task<Result<io::Socket>> dial_app(const Connection& connection);

}  // namespace culvert::ztunnel
