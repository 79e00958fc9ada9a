// AF_UNIX stream sockets for control sides (admin and status between a program and the command line). Descriptors of the
// process: real drivers only; a Socket or Listener takes them over.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <string>
#include <sys/types.h>

namespace culvert::io {

// Removes a stale socket of that name first; `mode` is the file's. Hand it over: Listener(loop, fd.release()).
Result<Fd> listen_unix(const std::string& path, mode_t mode);
Result<Fd> dial_unix(const std::string& path);  // Socket(loop, fd.release())

}  // namespace culvert::io
