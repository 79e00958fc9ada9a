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

// One snapshot that can judge, and the pod in it.
struct Known {
    mesh::DirectoryPtr directory;
    mesh::WorkloadPtr self;
};

// Refusals: source_unknown (WDS never named the pod), not_synced (policies never came), cancelled.
io::Task<Result<Known>> known_pod(const Connection& connection);

// Notes where the connection goes and between whom, then asks policy. Without an await between the two, and
// before anything is dialled.
Result<Done> authorise(Connection& connection, const Known& known, const mesh::Inbound& asked,
                       std::string_view baggage = {});

bool still_allowed(const Connection& connection, const mesh::Directory& directory);

}  // namespace culvert::ztunnel
