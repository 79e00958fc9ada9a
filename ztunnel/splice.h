// Two sockets joined in plain TCP: an app and a destination without HBONE (outbound.h), or an app and a
// plaintext client (passthrough.h). Two directions, each with its own half-close; an error on either side
// resets both (S17).
//
// Bytes go from the shared receive buffer into the other socket directly; only what that refuses is copied.
// The next receive waits until it has gone, which is the back-pressure, and bounds the copy to one receive
// buffer per direction.
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class Connection;

// Runs in the connection's scope until both directions have ended cleanly, or one did not.
io::Task<Result<Done>> splice(Connection& connection, io::Socket app, io::Socket peer);

}  // namespace culvert::ztunnel
