#include "agent/zds_peer.h"

#include "agent/cgroup.h"
#include "agent/os.h"

#include <cerrno>
#include <unistd.h>

namespace culvert::agent {
namespace {

constexpr std::string_view deleted = " (deleted)";

std::string who(const PeerFacts& peer) { return "process " + std::to_string(peer.pid); }

}  // namespace

Result<PeerVerdict> judge(const PeerFacts& peer, const ExpectedPeer& expected) {
    if (peer.uid != expected.uid)
        return refuse(Reason::permission, who(peer) + " runs as another user than ztunnel's");
    if (!expected.program.empty() && peer.program != expected.program)
        return refuse(Reason::permission, who(peer) + " is " + peer.program + ", not " + expected.program);
    if (peer.group == expected.group) return PeerVerdict::accept;
    if (expected.move) return PeerVerdict::move;
    if (peer.group == "/")
        return refuse(Reason::permission, who(peer) + " is in the root of cgroup2, which is everyone's");
    return refuse(Reason::permission, who(peer) + " is in " + peer.group + ", not in " + expected.group);
}

Result<PeerFacts> look_at_peer(pid_t pid, uid_t uid) {
    PeerFacts facts{pid, uid, {}, {}};
    std::string path(4096, '\0');
    std::string link = "/proc/" + std::to_string(pid) + "/exe";
    ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
    if (size < 0) return refuse_call("cannot look at " + link, errno);
    facts.program = path.substr(0, static_cast<std::size_t>(size));
    if (facts.program.ends_with(deleted)) facts.program.resize(facts.program.size() - deleted.size());
    TRY(facts.group, group_of(pid));
    return facts;
}

}  // namespace culvert::agent
