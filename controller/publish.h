// The graph's outputs as what nodes subscribe to: encoded once, versioned by content, gathered into immutable
// snapshots (decision 20). On the graph's thread; a snapshot goes to the server, which reads it from its own
// threads.
#pragma once
#include "controller/graph.h"
#include "lib/xds/snapshot.h"

#include <functional>

namespace culvert::controller {

class Publish {
public:
    using Out = std::function<void(xds::SnapshotPtr)>;
    explicit Publish(Out out) : out_(std::move(out)) {}

    // One snapshot for all of it; nothing is sent when every output is what it was, except the first time: an
    // empty mesh is an answer too.
    void apply(const Graph::Changes& changes);
    const xds::SnapshotPtr& current() const { return publisher_.current(); }

private:
    xds::Publisher publisher_;
    Out out_;
    bool sent_ = false;
};

}  // namespace culvert::controller
