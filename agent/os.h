// What the operating system said, as an Error with a sentence: the agent is the program that makes system
// calls of its own (cgroups, bpf, netlink), and each of them says on what it failed. No state; any thread.
#pragma once
#include "lib/io/driver.h"

#include <cstring>
#include <string>

namespace culvert::agent {

// "cannot open /sys/fs/cgroup/x: No such file or directory"
inline std::unexpected<Error> refuse_call(std::string what, int number) {
    Error error = io::os_error(number);
    error.text = std::move(what) + ": " + std::strerror(number);
    return std::unexpected(std::move(error));
}

}  // namespace culvert::agent
