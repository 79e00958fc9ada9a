// What the agent's control port shows: /status, readiness, metrics, who waits where; and what it remembers
// of refusals. Lives on the agent's loop, beside the parts that it reads.
//
// A question takes no step for a pod and changes nothing: it shows what the last round of the census saw,
// beside the kernel's state as it is now, and asks for another round.
//
// Bounds (docs/limits.md): recent_max refusals one by one; counts by pod of the census and reason.
#pragma once
#include "agent/census.h"
#include "agent/reports.h"
#include "agent/settings.h"
#include "agent/status.h"
#include "lib/base/metrics.h"
#include "lib/control/routes.h"
#include "lib/io/loop.h"

#include <functional>

namespace culvert::agent {

class ControlPort {
public:
    static constexpr std::size_t recent_max = 64;  // docs/limits.md: agent.recent_refusals

    struct Parts {
        const Settings& settings;
        const Group& root;
        const Group& ztunnel;
        const Census& census;
        const ZdsServer& zds;
        Capture& capture;
        const Reports* reports;  // null: no controller
        io::Loop& loop;
        std::function<void()> look_again;
    };
    explicit ControlPort(Parts parts) : parts_(std::move(parts)) {}
    control::Routes routes();

    void note(const Refusal& refusal);
    void forget_the_gone();  // of pods that the census does not know any more

private:
    Status status();
    PodStatus status_of(const std::string& key, const Pod& pod) const;
    std::vector<StatusProblem> problems() const;
    std::vector<std::string> pending() const;
    std::string metrics();

    Parts parts_;
    std::map<std::string, std::map<std::string, std::uint64_t>> refusals_;  // by pod and word
    std::deque<RecentRefusal> recent_;
    Registry registry_;
    std::map<std::string, std::uint64_t, std::less<>> counted_;  // outcomes already in the registry
};

}  // namespace culvert::agent
