// A controller's server side without a network, for the simulator and tests: the same state machines and the
// same bytes, carried by an executor. Everything runs on that executor, so a seed replays a run.
#pragma once
#include "lib/xds/executor.h"
#include "lib/xds/handlers.h"
#include "lib/xds/snapshot.h"
#include "lib/xds/transport.h"

#include <memory>
#include <string>

namespace culvert::xds {

class MemoryServer {
public:
    MemoryServer(Executor& executor, Handlers handlers);
    ~MemoryServer();  // after its transports
    MemoryServer(const MemoryServer&) = delete;

    void publish(SnapshotPtr snapshot);
    void set_up(bool up);  // false: ends every stream and refuses new ones; certificate requests fail
    void disconnect();     // ends every stream; they may come back at once
    std::size_t streams() const;

    // Each message takes between nothing and this long; order on a stream is kept.
    void set_delay(Duration longest);

    std::unique_ptr<DeltaTransport> delta_transport(std::string bearer);
    std::unique_ptr<CaTransport> ca_transport(std::string bearer);
    std::unique_ptr<ReportTransport> report_transport(std::string bearer);

private:
    class State;
    std::shared_ptr<State> state_;
};

}  // namespace culvert::xds
