// Who may be our ztunnel (S9): a process is known by what SO_PEERCRED says of it when it connected, its
// program and its group, never by what it sends. judge() is pure; look_at_peer() reads /proc.
//
// Standalone the agent moves ztunnel into the group that it made for it, before the first Add: a socket keeps
// its creator's group (decision 7). A process in the root of cgroup2 that is not to be moved is refused: the
// root is everyone's.
#pragma once
#include "lib/base/result.h"

#include <string>
#include <sys/types.h>

namespace culvert::agent {

struct PeerFacts {
    pid_t pid = 0;
    uid_t uid = 0;
    std::string
        program;  // /proc/PID/exe, without " (deleted)": an upgrade replaces the file under a running ztunnel
    std::string group;  // within cgroup2: "/a/b"
};

struct ExpectedPeer {
    uid_t uid = 0;
    std::string program;  // empty: any program of that user
    std::string group;    // ztunnel's
    bool move = true;     // standalone; otherwise it must be there already
};

enum class PeerVerdict : std::uint8_t { accept, move };

Result<PeerVerdict> judge(const PeerFacts& peer, const ExpectedPeer& expected);

Result<PeerFacts> look_at_peer(pid_t pid, uid_t uid);

}  // namespace culvert::agent
