// The control port (15014): what the controller knows and what is wrong, for people and scrapers.
//   /status          JSON: {"ready", "problems": [{"severity", "file", "line", "object", "field", "message",
//   "effect", "fix"}], "warnings": [the same],
//                    "objects": {kind: count}, "published": {"addresses", "policies", "sequence"},
//                    "nodes": [{"name", "connected", "enrolled", "pods": [{"name", "enrolled", "reason"}],
//                    "streams": [{"id", "peer", "synced", "rejected", "error"}]}], "refused": {reason:
//                    count}}
//   /metrics         OpenMetrics
//   /healthz/ready   200 "ready" once the first manifests are published, 500 before
//   /debug/tasks     who is parked where on the control loop
// Answers are made on the control loop from values that other threads left; nothing waits.
#pragma once
#include "controller/picture.h"
#include "controller/refusals.h"
#include "lib/base/metrics.h"
#include "lib/control/routes.h"
#include "lib/xds/grpc_server.h"

#include <functional>

namespace culvert::controller {

// All of it outlives the routes.
struct StatusParts {
    const Board& board;
    const Refusals& refusals;
    const Registry& metrics;
    std::function<std::vector<xds::StreamStatus>()> streams;
    const io::Loop& loop;
};
control::Routes routes(StatusParts parts);

// The document of /status; pure.
std::string status_json(const Picture& picture, const std::vector<xds::StreamStatus>& streams,
                        const std::vector<std::pair<std::string, std::uint64_t>>& refused);

}  // namespace culvert::controller
