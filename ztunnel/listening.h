// How a pod's listeners, of streams and datagrams, are opened in its namespace.
#pragma once
#include "lib/base/result.h"

#include <cerrno>
#include <cstdint>
#include <string>

namespace culvert::ztunnel {

// S8: an app may hold the usual port. Where the agent is ours (`announced`) it is the role that steers, so
// any port will do. `open` takes a port, 0 for any, and returns a Result.
template <class Open> auto open_at_any(std::uint16_t usual, bool announced, Open open) {
    auto opened = open(usual);
    if (!opened && announced && opened.error().detail == EADDRINUSE) opened = open(0);
    return opened;
}

// An error with the port and the pod in front of it.
inline std::unexpected<Error> refuse_port(Error error, const std::string& port, const std::string& uid) {
    error.text = port + " of pod " + uid + (error.text.empty() ? "" : ": " + error.text);
    return std::unexpected(std::move(error));
}

}  // namespace culvert::ztunnel
