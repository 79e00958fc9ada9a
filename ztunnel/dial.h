// Connections that ztunnel makes in a pod's namespace. To the app inside it, on behalf of a client somewhere
// else (decision 2, S3): IPv4 bound to loopback, with the real client told to the kernel, and confirmed to be
// what the app sees before it is handed out.
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class Connection;
class PodView;

// Within Settings::connect; then connect_timed_out, a NetworkPolicy's sign (H-42). Refusals: also
// connect_refused, unreachable, ..., cancelled.
io::Task<Result<io::Socket>> dial(PodView& pod, Address to, io::ConnectOptions options = {});

// To connection.next_hop for connection.source. Refusals: those of dial(), client_not_bound.
io::Task<Result<io::Socket>> dial_app(const Connection& connection);

}  // namespace culvert::ztunnel
