// AF_UNIX sockets by path: streams for control sides (admin and status between a program and the command
// line), packets for ZDS (seqpacket.h). Descriptors of the process: real drivers only; a Socket, Listener or
// PacketSocket takes them over.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <string>
#include <sys/types.h>

namespace culvert::io {

enum class UnixKind { stream, packets };

// Removes a stale socket of that name first: one that nobody listens on. A live one, or a file that is no
// socket, is an error. `mode` is the file's, from its first moment. Hand the result over: Listener(loop,
// fd.release()).
Result<Fd> listen_unix(const std::string& path, mode_t mode, UnixKind kind = UnixKind::stream);
// Does not wait: a full backlog is no_buffers with detail EAGAIN. Socket(loop, fd.release()).
Result<Fd> dial_unix(const std::string& path, UnixKind kind = UnixKind::stream);

}  // namespace culvert::io
