// One mTLS connection between two nodes' proxies, after its handshake: records, the CONNECT engine, and the
// tunnels in it.
//
// A dialled link belongs to the pool of its pod, an accepted one to the coroutine that serves it (inbound.h);
// both on one loop. Received bytes are opened, parsed and given to the apps inside one turn; what a turn has
// to say is sealed into one buffer and sent once, when the turn ends. Between two awaits all its bytes and
// numbers are in here, so that it can be written down at any moment and go on in a successor (S23: pause,
// save, load).
//
// Ends: on an error of either side at once, its tunnels as resets (S17); at the earlier notAfter of both
// leaves, at a change of roots (S16), after ping_timeout without an answer (H-19); gracefully when it is
// drained and empty. Bounds: unsent_max sealed bytes (S19), the engine's windows and patience (S18 to S21),
// accepted CONNECTs that wait (h2::Settings).
#pragma once
#include "lib/h2/tunnel.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "lib/tls/handshake.h"
#include "ztunnel/inbox.h"
#include "ztunnel/outbox.h"
#include "ztunnel/traffic_meter.h"

#include <memory>
#include <optional>
#include <vector>

namespace culvert::tls {
class Credential;
}

namespace culvert::ztunnel {

class Shard;
class Tunnel;

// What a handshake leaves behind (greeting.h).
struct Secured {
    io::Socket socket;
    tls::Established established;
    std::shared_ptr<const tls::Credential> credential;  // ours
    Buffer early;                                       // received behind the handshake
};

class Link final : io::TurnEnd, io::Timer {
public:
    // What one app may put into a link while others wait for room in it, and what each that is woken is
    // reckoned to add.
    static constexpr std::size_t turn_bytes = 64 << 10;

    Link(Shard& shard, h2::Role role, Secured secured);
    ~Link();  // over, and joined
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    void start();  // from here on it receives
    const mesh::Identity& peer() const { return peer_.identity; }
    const mesh::Identity& own_identity() const;  // whose certificate it was made with

    // ---- for the pool
    io::Task<Result<Done>> ready();            // until the peer's SETTINGS have come (S16)
    bool usable() const;                       // takes another tunnel now
    bool carried() const { return carried_; }  // a tunnel, ever
    bool busy();                               // with bulk: small requests had better go elsewhere
    std::size_t streams() const { return engine_.streams(); }
    Result<Done> open(Tunnel& tunnel, const h2::ConnectRequest& request);

    // ---- for who serves it
    // The next CONNECT, or how the link ended.
    io::Task<Result<h2::StreamId>> next_request();
    // A CONNECT whose turn has come: from now on the tunnel gets what arrives for it, and has what did.
    std::optional<h2::ConnectRequest> take_request(h2::StreamId stream, Tunnel& tunnel);
    void respond(h2::StreamId stream, const h2::ConnectResponse& response);
    // REFUSED_STREAM: nothing was done for it, the peer may ask elsewhere.
    void turn_away(h2::StreamId stream);

    // ---- ends
    void drain();          // GOAWAY; running tunnels go on, then it closes (H-36)
    void end(Reason why);  // now: GOAWAY and a reset of every tunnel
    bool ended() const { return ended_ != Reason::none; }
    // Ended, and no tunnel is left in it. Whoever owns the link awaits change() until it is, then join().
    bool over() const { return ended() && rows_.empty(); }
    io::Event::Waiting change() { return changed_.wait(); }
    io::Scope::Join join() { return scope_.join(); }

    // ---- for its tunnels
    std::size_t send(h2::StreamId stream,
                     ConstBytes bytes);  // what the windows let through: that much is taken
    void send_end(h2::StreamId stream);
    std::size_t send_allowance(h2::StreamId stream) const { return engine_.send_allowance(stream); }
    void consumed(h2::StreamId stream, std::size_t bytes);
    void reset(h2::StreamId stream);
    bool room() const;
    bool crowded() const { return !waiting_.empty(); }  // tunnels wait for room
    void wait_for_room(Tunnel& tunnel);
    void detach(Tunnel& tunnel);
    BufferShelf& shelf();

    // ---- hand-over: pause() the link and each of its tunnels, join them, save() all, take the sockets. Not
    // of a link that ended() or that has said close_notify: then pause() is false.
    bool pause();
    void save(Encoder& to);  // without its tunnels: each saves itself
    io::Socket take_socket() { return std::move(socket_); }
    // What save() wrote: its tunnels are loaded into it, then it starts. Refuses with bad_input.
    static Result<std::unique_ptr<Link>> load(Decoder& from, Shard& shard, io::Socket socket,
                                              std::shared_ptr<const tls::Credential> credential);
    void adopt(h2::StreamId stream, Tunnel& tunnel);  // a tunnel that is being loaded

private:
    struct Values {
        h2::Engine engine;
        Inbox inbox;
        Outbox outbox;
        tls::PeerIdentity peer;
    };
    Link(Shard& shard, io::Socket socket, std::shared_ptr<const tls::Credential> credential, Values values);
    static Values values_of(Shard& shard, h2::Role role, tls::Established established);

    struct Row {
        h2::StreamId stream;
        Tunnel* tunnel;
    };
    struct Waiting {  // a CONNECT that nobody has taken yet, and what came behind it
        h2::StreamId stream;
        h2::ConnectRequest request;
        OutBuffer early;
        bool end;
    };

    // link.cpp: life
    void close_if_drained();
    void say_goodbye(Reason why);
    void schedule();
    void due() override;
    void tick_if_wanted();
    // link_input.cpp
    io::Task<void> receive();
    void hear(Result<io::Received> received);
    void take(Bytes input);
    void take_text(ConstBytes text);
    void on_event(h2::Event& event);
    void on_stream_event(h2::Event& event);
    void on_request(h2::Event& event);
    void keep_early(const h2::Event& event);
    void forget_request(h2::StreamId stream);
    Tunnel* find(h2::StreamId stream) const;
    // link_output.cpp
    void turn_end() override;
    void flush();
    io::Task<void> write();
    void take_control();
    void give_up(h2::StreamId stream, h2::Code code);
    void want_flush();
    void count_unsent();
    void wake_waiting();

    Shard& shard_;
    io::Scope scope_;
    io::Socket socket_;
    h2::Engine engine_;
    Inbox inbox_;
    Outbox outbox_;
    std::vector<Row> rows_;         // sorted by stream
    std::vector<Tunnel*> waiting_;  // for credit or room, first come first served
    std::vector<Waiting> requests_;
    std::size_t offered_ = 0;  // of requests_: next_request() has named them
    std::size_t counted_ = 0;  // unsent bytes that the shard's budget knows of
    io::Event changed_;        // for ready(), next_request() and change()
    TrafficMeter meter_;
    tls::PeerIdentity peer_;
    std::shared_ptr<const tls::Credential> credential_;
    Buffer early_;
    Instant expires_;
    Instant retires_;  // no new tunnel from then on
    Instant ping_at_;  // the next one, or when the answer is overdue
    Instant tick_at_;
    std::uint64_t pings_ = 0;
    Reason ended_ = Reason::none;
    tls::Alert alert_{};        // of a record that did not open
    bool pinging_ : 1 = false;  // an answer is awaited
    bool ticking_ : 1 = false;
    bool paused_ : 1 = false;  // everything that arrives still counts, nothing more is said
    bool carried_ : 1 = false;
    bool closing_ : 1 = false;  // close_notify went; the rest of what the peer says is read and dropped
};

}  // namespace culvert::ztunnel
