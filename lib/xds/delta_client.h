// The client's half of delta discovery as a pure state machine: it is told what arrived
// and says what to send and what to apply. It survives streams: what it holds stays in force while the
// controller is away. Belongs to whoever runs it, on one thread. No clock, no chance, no I/O; back-off
// is in backoff.h.
//
// It remembers one name and version for each resource that the controller sent: about 100 bytes each. The
// controller is trusted, so only the size of one message is bounded (docs/limits.md: xds.message).
#pragma once
#include "lib/mesh/directory_writer.h"
#include "lib/xds/held.h"
#include "lib/xds/messages.h"

#include <array>
#include <string>
#include <vector>

namespace culvert::xds {

class DeltaClient {
public:
    static constexpr std::size_t error_text_max = 8 * 1024;  // docs/limits.md: xds.error_text

    explicit DeltaClient(Node node) : node_(std::move(node)) {}

    // A new stream: what to say on it, in this order.
    std::vector<DeltaRequest> opened();

    struct Taken {
        DeltaRequest reply;                 // ACK or NACK
        mesh::Delta delta;                  // what was good of it, to be applied before the reply is sent
        std::vector<std::string> rejected;  // "name: reason", one each
        bool unknown_type = false;          // logged and ACKed
        bool became_ready = false;          // by this response
    };
    Taken received(DeltaResponse response);

    // The first good answer for every type has been taken; stays true.
    bool ready() const;
    std::size_t held(Type type) const { return of(type).held.size(); }

private:
    struct OfType {
        Held held;
        bool complete = false;
    };
    const OfType& of(Type type) const { return of_[static_cast<std::size_t>(type)]; }
    OfType& of(Type type) { return of_[static_cast<std::size_t>(type)]; }
    void take_resource(Type type, ReceivedResource resource, Taken& taken);

    Node node_;
    std::array<OfType, types.size()> of_;
};

}  // namespace culvert::xds
