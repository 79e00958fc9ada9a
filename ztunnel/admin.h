// ztunnel's control ports (wire.md 8.2 to 8.4): admin, metrics (M-1) and readiness.
// On the control loop; answers are made from what the node hands in, which asks data loops and never waits
// for one in a way that would hold the control loop up.
#pragma once
#include "lib/base/metrics.h"
#include "lib/control/server.h"
#include "ztunnel/config.h"

#include <functional>
#include <string>
#include <vector>

namespace culvert::ztunnel {

class Admin {
public:
    // What the node provides; all called on the control loop.
    struct Sources {
        std::function<io::Task<Result<std::string>>()> dump;
        std::function<std::vector<std::string>()> pending;     // what readiness waits for
        std::function<io::Task<Result<std::string>>()> tasks;  // who is parked where, of every loop
        std::function<void()> quit;
        const Registry& metrics;
    };

    Admin(io::Loop& loop, io::Scope& scope, Sources sources)
        : server_(loop, scope), sources_(std::move(sources)) {}
    // A busy port is an error that names it.
    Result<Done> listen(const Config& config);
    // Of admin, metrics and readiness, in this order: of interest when one was 0.
    const std::vector<std::uint16_t>& ports() const { return ports_; }

private:
    control::Routes admin() const;

    control::Server server_;
    Sources sources_;
    std::vector<std::uint16_t> ports_;
};

}  // namespace culvert::ztunnel
