// `check` is for what we got wrong and stays on in release builds: it prints where and stops the process.
// It never guards what a peer, a user or the network can bring about; those get a Result.
#pragma once
#include <source_location>

namespace culvert {

[[noreturn]] void bug(const char* what, std::source_location where = std::source_location::current());

inline void check(bool holds, std::source_location where = std::source_location::current()) {
    if (!holds) [[unlikely]]
        bug("check failed", where);
}

}  // namespace culvert
