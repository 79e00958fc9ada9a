// The CONNECT engine: HTTP/2 (RFC 9113) for tunnels, sans I/O. Bytes in, events out; commands in, frames out.
//
// One Engine belongs to one link (one mTLS connection between nodes) and lives on that link's loop. It never
// sees a socket, a clock or a thread, and never touches payload: DATA arrives as a span into the caller's
// buffer and leaves as nine bytes that the caller puts before the payload. So it costs the same for one byte
// and for a megabyte. Its state is a value: save() and load() work at any byte boundary of either direction.
//
//   input    Call next() until it returns nothing: one event at a time, no callbacks, no re-entrance.
//
//   output   Control frames gather in output(). They go out before any DATA framed later: seal output(),
//            call output_taken(), then seal frame_data()'s header together with the payload.
//
//   credit   The peer may send again only after consumed(): when bytes have reached the app's socket, or
//            were thrown away.
//
//   time     The caller's clock calls tick() once a second while tick_wanted(), and ping() for keepalive
//            (H-19).
//
// Errors: next() fails only for the whole connection (Reason::h2_protocol or h2_flood, detail is the HTTP/2
// code); the GOAWAY is then in output(). Malformed requests and everything else that RFC 9113 calls a stream
// error end one stream.
//
// Limits: Settings, the constants below and lib/h2/patience.h; docs/limits.md has the arithmetic.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/h2/frame.h"
#include "lib/h2/hpack.h"
#include "lib/h2/message.h"
#include "lib/h2/patience.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace culvert::h2 {

// One DATA frame fills one TLS record: 16,384 less the frame header. Any peer accepts this size unasked.
constexpr std::size_t data_max = 16'384 - frame_header_size;

constexpr std::size_t header_block_max = 64u << 10;  // compressed, HEADERS and its CONTINUATIONs together
constexpr unsigned continuations_max = 16;
constexpr std::uint32_t streams_limit = 1000;  // Settings::streams_max is at most this

// Answers that the peer does not read: when more are queued, it is a flood.
constexpr std::size_t output_max = 256u << 10;

// "cv-drain", the PING between the two GOAWAYs of drain(): its answer is not told as a pong.
constexpr std::uint64_t drain_ping = 0x63762d647261696e;

// What we announce and enforce. Windows follow S18: every stream is sure of `window_first`; it gets
// `window_open` with the 200, and doubles up to `window_max` whenever its app drains a whole window within
// one tick, as long as all streams together have grown by no more than `growth_max`. The connection's window
// is streams_max * window_first + growth_max (and an eighth), so streams that nobody reads can never starve
// another one.
struct Settings {
    std::uint32_t streams_max = 200;  // server: advertised and enforced; client: most tunnels it opens (H-39)
    std::uint32_t window_first = 64u << 10;  // what a peer may send before the 200
    std::uint32_t window_open = 256u << 10;
    std::uint32_t window_max = 4u << 20;
    std::uint32_t growth_max = 16u << 20;  // the link's budget above streams_max * window_first
    std::uint32_t frame_max = 1u << 20;
    std::uint32_t header_list_max = 64u << 10;
    bool sound() const;  // within limits, and windows in order; anything else is our own mistake
    bool operator==(const Settings&) const = default;
};
Settings client_settings();  // wire.md 1.3: 100 tunnels, header lists of 16,384
Settings server_settings();  // wire.md 1.3: 200 tunnels, header lists of 65,536

struct Event {
    enum class Kind : std::uint8_t {
        // The peer's SETTINGS. The first makes the link ready (S16); send windows may have changed.
        settings,
        // Server: answer with respond() or reset(). `request`, `end`.
        request,
        // Client: `response`, `end`. After anything but 200 the stream is already gone.
        response,
        // `bytes` inside the input; later consumed().
        data,
        // END_STREAM: the peer's app is done writing. The only clean end there is (S17).
        ended,
        // The stream is gone, by RST_STREAM, stream error or GOAWAY: never a clean end, whatever `code` says;
        // the reference takes NO_ERROR and CANCEL for one (H-31, S17). `code`, `retry`.
        reset,
        // More may be sent on `stream`, or on all of them if it is 0.
        window,
        // No new tunnels here. `code`, `last`. A `reset` with `retry` follows for each stream not served.
        goaway,
        // The answer to ping(). `value`.
        pong,
        // Server, for counters: the engine refused a request, which never became a stream. `code`.
        refused,
    };
    Kind kind{};
    StreamId stream = 0;
    ConstBytes bytes{};
    bool end = false;  // request: the client will send nothing
    Code code = Code::no_error;
    bool retry = false;  // reset: the peer says that it did nothing for this stream
    StreamId last = 0;
    std::uint64_t value = 0;
    std::optional<ConnectRequest> request{};
    std::optional<ConnectResponse> response{};
};

struct Stream {
    StreamId id = 0;
    std::int32_t send_window = 0;     // what we may still send; negative after the peer shrank its window
    std::int32_t receive_window = 0;  // what the peer may still send; negative until it knows our SETTINGS
    std::uint32_t window = 0;  // the receive window in force: credit, bytes held and credit not announced yet
    std::uint32_t held = 0;    // received, not yet consumed
    std::uint32_t unannounced = 0;  // consumed, credit not announced yet
    std::uint32_t drained = 0;      // consumed since the last tick or growth
    bool open = false;              // the 200 has been sent or received
    bool ended_here = false;
    bool ended_there = false;
    bool operator==(const Stream&) const = default;
};

class Engine {
public:
    Engine(Role role, const Settings& settings);  // output() has the preface and SETTINGS
    Engine(Engine&&) noexcept = default;
    Engine& operator=(Engine&&) noexcept = default;

    // Takes bytes from the front of `input` until something is worth telling or nothing is left (then it is
    // empty). Call it until it returns nothing. A failure is final: it is returned again for ever.
    Result<std::optional<Event>> next(ConstBytes& input);

    // Client. Refuses with h2_going_away, limit (no stream free, or the headers are larger than the peer
    // takes), bad_input (a value no HTTP field may have), closed (dead), and not_synced before peer_ready():
    // a link is usable only then (S16).
    Result<StreamId> connect(const ConnectRequest& request);
    bool can_connect() const;

    // Server. 200 opens the tunnel; any other status ends the stream at once and costs patience (S21).
    // Ignored when the stream is gone or answered already.
    void respond(StreamId stream, const ConnectResponse& response);

    // RST_STREAM. An app that aborted travels as Code::connect_error, never as cancel, which the reference
    // takes for a clean end (S17, H-31). Bytes held are credited here; a consumed() that comes later does no
    // harm.
    void reset(StreamId stream, Code code);

    // DATA. send_allowance is 0 before the 200 and after our end; never frame more than that or than
    // data_max. `end` may come with zero bytes. Empty: the stream is gone or already ended by us, and nothing
    // may be sent.
    std::size_t send_allowance(StreamId stream) const;
    std::optional<FrameHeaderBytes> frame_data(StreamId stream, std::size_t size, bool end);

    // `size` bytes of this stream's data events reached the app's socket or were thrown away.
    void consumed(StreamId stream, std::size_t size);

    void ping(std::uint64_t value);  // any value but drain_ping
    // Server: GOAWAY in two steps (H-36): streams that are on their way are still served, then the last id is
    // named.
    void drain();
    // GOAWAY with the last stream that was served; open tunnels go on, new ones are refused.
    void goaway(Code code);
    bool drained() const { return final_goaway_sent_ && streams_.empty(); }

    void tick();  // once a second by the caller's clock: refills patience, starts a new growth period
    bool tick_wanted() const;  // false: an idle link needs no timer for this

    // The link's share of its pod's byte budget; windows granted already are not taken back. Never above
    // Settings'.
    void set_growth_max(std::uint32_t bytes);
    std::uint32_t growth() const { return growth_; }

    // Control frames that wait to be sent, and the word that they have been sealed or copied.
    ConstBytes output() const { return output_; }
    void output_taken();

    Role role() const { return role_; }
    bool peer_ready() const { return peer_ready_; }  // its SETTINGS came (S16)
    bool going_away() const { return drain_sent_ || final_goaway_sent_ || goaway_received_; }
    bool failed() const { return failed_; }
    std::size_t streams() const { return streams_.size(); }
    const Stream* find(StreamId stream) const;

    // Hand-over. load() refuses with bad_input what save() cannot have written.
    void save(Encoder& to) const;
    static Result<Engine> load(Decoder& from);

private:
    // An event for the caller, nothing, or the end of the connection.
    using Step = Result<std::optional<Event>>;

    // tunnel.cpp: bytes to frames
    Step fail(Code code);
    bool take_preface(ConstBytes& input);
    bool take_head(ConstBytes& input);
    Step take_frame(ConstBytes& input);
    Step take_payload(ConstBytes& input);
    std::uint32_t payload_wanted() const;
    void skip(ConstBytes& input);
    void end_frame();
    std::optional<Event> unserved_stream();
    // begin.cpp: what can be judged by the frame's header alone
    Step frame_begins();
    Step data_begins();
    Step headers_begin();
    Step continuation_begins();
    Step priority_begins();
    Step connection_frame_begins();
    Step ignore(std::int32_t cost);
    // receive.cpp: frames to events
    Step take_data(ConstBytes& input);
    Step frame_complete(ConstBytes payload);
    Step on_settings(ConstBytes payload);
    Step on_settings_acknowledged();
    Code apply(Setting id, std::uint32_t value);
    Code change_window_first(std::uint32_t value);
    Step on_window_update(ConstBytes payload);
    Step on_rst_stream(ConstBytes payload);
    Step on_ping(ConstBytes payload);
    Step on_goaway(ConstBytes payload);
    // headers.cpp: header blocks to requests and responses
    Step on_headers(ConstBytes payload);
    Step block_complete();
    Step on_request(StreamId id);
    Step refuse_request(StreamId id, Code code, std::int32_t cost);
    Step on_response(Stream& stream);
    Step on_unwanted_block(StreamId id);
    // send.cpp
    void append_headers(StreamId id, ConstBytes block, bool end);
    void append_number(FrameType type, StreamId id, std::uint32_t value);
    void append_goaway(StreamId last, Code code);
    Event stream_error(StreamId id, Code code);
    // flow.cpp
    std::uint32_t connection_window() const;
    Stream& add_stream(StreamId id, bool ended_there);
    void open(Stream& stream);
    void grow(Stream& stream, std::uint32_t to);
    void shrink(Stream& stream);
    void announce(Stream& stream);
    void credit_connection(std::size_t size);
    void end_there(Stream& stream);
    void close_if_done(StreamId id);
    void erase(StreamId id);
    // state.cpp
    bool sound() const;
    template <class Self, class F> static void each_number(Self& self, F&& f);

    Stream* stream(StreamId id);
    bool was_opened(StreamId id) const;
    bool spend(std::int32_t cost);

    Role role_;
    Settings settings_;
    HeaderDecoder decoder_;
    Patience patience_;
    std::vector<Stream> streams_;  // sorted by id
    Buffer output_;

    // what the peer told us
    std::uint32_t peer_window_first_ = window_default;
    std::uint32_t peer_frame_max_ = frame_max_default;
    std::uint32_t peer_streams_max_ = 0xffffffff;
    std::uint32_t peer_header_list_max_ = 0xffffffff;
    std::int64_t send_window_ = window_default;
    std::uint32_t updates_earned_ = 0;  // WINDOW_UPDATEs that our DATA explains
    StreamId goaway_last_ = stream_id_max;
    bool peer_ready_ = false;
    bool settings_acknowledged_ = false;
    bool goaway_received_ = false;

    // what we told the peer
    bool drain_sent_ = false;
    bool final_goaway_sent_ = false;
    bool failed_ = false;
    Code failure_ = Code::no_error;
    std::uint32_t pings_sent_ = 0;  // and not answered yet
    StreamId next_stream_ = 1;
    StreamId last_peer_stream_ = 0;

    // flow control of what we receive
    std::int64_t receive_window_ = window_default;
    std::uint32_t unannounced_ = 0;
    std::uint32_t growth_ = 0;  // what all streams together have above window_first
    std::uint32_t growth_max_ = 0;

    // where in the byte stream we are
    std::uint8_t preface_left_ = 0;
    std::uint8_t head_have_ = 0;
    std::uint8_t pad_ = 0;
    std::uint8_t continuations_ = 0;
    bool in_frame_ = false;
    bool skipping_ = false;
    bool pad_known_ = false;
    bool block_ends_stream_ = false;
    FrameHeaderBytes head_{};
    FrameHeader frame_{};
    std::uint32_t left_ = 0;     // payload bytes of the current frame still to come
    StreamId block_stream_ = 0;  // not 0: only CONTINUATION may come
    Buffer payload_;             // of a control frame, until complete
    Buffer block_;               // a header block, until END_HEADERS
};

}  // namespace culvert::h2
