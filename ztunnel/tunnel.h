// One app connection in a link: an app's socket on this side, a CONNECT stream on the other, two directions
// and their ends.
//
// Stands in the frame of the coroutine that serves the connection (outbound.h, inbound.h); its coroutines are
// children of the connection's scope. Between two awaits every byte and number of the connection is in here
// or in its link, none in frames and none in shared buffers, so that it can be written down at any such
// moment and go on in a successor (pause, save, load).
//
// Ends (S17, H-29, W-1): END_STREAM becomes a FIN behind the last byte, the app's FIN becomes END_STREAM,
// each direction on its own. Every other end is a reset of both sides: RST towards the app,
// RST_STREAM(CONNECT_ERROR) towards the peer. Bounds: towards the app what the stream's window allows
// (lib/h2); towards the peer one receive beyond the credit.
#pragma once
#include "lib/base/bytes.h"
#include "lib/h2/tunnel.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "ztunnel/backlog.h"

namespace culvert::ztunnel {

class Connection;
class Link;

class Tunnel {
public:
    explicit Tunnel(Connection& connection);
    ~Tunnel();  // after the connection's scope has been joined
    Tunnel(const Tunnel&) = delete;
    Tunnel& operator=(const Tunnel&) = delete;

    // The stream it runs in; once. The link calls back from then on.
    void attach(Link& link, h2::StreamId stream, bool asking);
    Link* link() const { return link_; }
    h2::StreamId stream() const { return stream_; }

    // Outbound: until the peer has answered. Refusals: connect_rejected with the status, h2_going_away (the
    // peer did nothing: after leave() another link may be tried), or how it failed.
    io::Task<Result<Done>> answered();
    void leave();

    // Both directions run from now on; bytes that came early go to the app first.
    void start(io::Socket app);

    // Ends both sides as a reset, unless both have ended cleanly. The first reason counts.
    void fail(Reason why);
    Reason failure() const { return failure_; }
    bool over() const { return failure_ != Reason::none || (end_sent_ && app_shut_); }

    // ---- hand-over, with its link's (link.h)
    void pause();  // its coroutines end, its connection's scope is joined, nobody is told of an end
    void save(Encoder& to) const;
    io::Socket take_app() { return std::move(app_); }
    // Into a fresh tunnel: what save() wrote. Then start() as far as it was opened(), else answered() first.
    Result<Done> load(Decoder& from, Link& link);
    bool opened() const { return !asking_; }

private:
    friend class Link;
    friend class Delivery;

    // from the link, inside a turn
    void on_response(const h2::ConnectResponse& response);
    void on_bytes(std::span<const ConstBytes> pieces);
    void on_end();
    void on_reset(Reason why);
    void wake() { changed_.set(); }

    io::Task<void> from_app();
    io::Task<void> into_app();
    std::size_t may_read();
    void take_from_app(const Result<io::Received>& received);
    void pass_on();
    void hold(std::span<const ConstBytes> pieces, std::size_t skip);
    void count_held();
    void write_rest();
    void shut_app_if_ended();

    Connection& connection_;
    Link* link_ = nullptr;
    io::Socket app_;
    io::Event changed_;  // for its one waiter: the answer, credit, room, the other direction's end
    Backlog to_app_;     // received, not yet taken by the app's socket: its credit is not returned yet (H-34)
    OutBuffer to_peer_;  // read from the app beyond what the windows let through
    h2::StreamId stream_ = 0;
    std::int16_t status_ = 0;  // of the answer; 0: none yet
    Reason failure_ = Reason::none;
    bool app_ended_ : 1 = false;     // the app sent FIN
    bool end_sent_ : 1 = false;      // END_STREAM went behind its last byte
    bool peer_ended_ : 1 = false;    // END_STREAM came
    bool app_shut_ : 1 = false;      // FIN went to the app behind the last byte
    bool paused_ : 1 = false;        // bytes are kept, not passed on
    bool writing_ : 1 = false;       // into_app() runs
    bool asking_ : 1 = false;        // outbound, until the answer: answered() tells how it went
    bool stream_gone_ : 1 = false;   // the peer or the link ended it: nothing more to say there
    bool retry_ : 1 = false;         // failed before the peer did anything
    std::uint32_t first_piece_ = 0;  // in the link's Delivery of this turn, counted from 1
    std::uint32_t last_piece_ = 0;
};

}  // namespace culvert::ztunnel
