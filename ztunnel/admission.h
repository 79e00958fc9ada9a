// Whether an inbound connection may go on to the app: what HBONE (inbound.h) and plaintext (passthrough.h)
// have in common. The pod must be known to the directory and policies must have arrived (decision 10: wait,
// bounded, then refuse), and they must say yes; the same question is asked again while the
// connection lives.
#pragma once
#include "lib/io/task.h"
#include "lib/mesh/directory.h"
#include "lib/mesh/inbound.h"

namespace culvert::ztunnel {

class Connection;
class PodView;

// One snapshot that can judge, and the pod in it. A newer one may come with every await: asked and judged
// without one in between, or a policy that withdraws what is asked would be missed.
struct Known {
    mesh::DirectoryPtr directory;
    mesh::WorkloadPtr self;
};

// Until there is one. Refusals: those of known_now() when the wait is over, cancelled.
io::Task<Result<Done>> until_known(const Connection& connection);
// Refusals: source_unknown (WDS has not named the pod), not_synced (policies have not come).
Result<Known> known_now(const Connection& connection);

// Where the connection goes and between whom: from here on it has labels, and is judged again.
void note(Connection& connection, const Known& known, const mesh::Inbound& asked,
          std::string_view baggage = {});
// Policy, before anything is dialled.
Result<Done> authorise(const Connection& connection, const Known& known);

bool still_allowed(const Connection& connection, const mesh::Directory& directory);

}  // namespace culvert::ztunnel
