// The other end of a link, played by hand in the simulated world: what a peer may do that our own proxy never
// does. Records and frames are the production ones, every step is the test's.
#pragma once
#include "lib/h2/tunnel.h"
#include "lib/io/sim.h"
#include "ztunnel/greeting.h"
#include "ztunnel/inbox.h"
#include "ztunnel/outbox.h"

#include <deque>
#include <memory>

namespace culvert::test {

class SimPeer {
public:
    struct Heard {
        h2::Event event;
        Buffer bytes;  // of a data event; the event's own span is gone
    };

    SimPeer(h2::Role role, ztunnel::Secured secured);

    // Sends what the engine and data() want to say.
    io::Task<Result<Done>> flush();
    // Flushes, then waits for an event of this kind; those before it are dropped. Refused once the link has
    // ended: closed after close_notify, truncated after a bare FIN, reset.
    io::Task<Result<Heard>> hear(h2::Event::Kind kind);
    void data(h2::StreamId stream, ConstBytes bytes, bool end);
    void raw(ConstBytes frames) { outbox_.control(frames); }  // which the engine knows nothing of

    h2::Engine engine;

private:
    Result<Done> take(Bytes input);

    io::Socket socket_;
    ztunnel::BufferShelf shelf_;
    ztunnel::Inbox inbox_;
    ztunnel::Outbox outbox_;
    std::deque<Heard> heard_;
    Result<Done> state_ = Done{};
};

// A link by hand from a namespace to `to`, as `identity`.
struct PeerParts {
    io::Loop& loop;
    io::Namespace where;
    tls::HandshakeMaker& handshakes;
    mesh::Identity identity;
};
io::Task<Result<std::unique_ptr<SimPeer>>> dial_by_hand(PeerParts parts, Address to,
                                                        std::vector<mesh::Identity> accepted);
// The next link that arrives at `listener`.
io::Task<Result<std::unique_ptr<SimPeer>>> accept_by_hand(PeerParts parts, io::Listener& listener);

}  // namespace culvert::test
