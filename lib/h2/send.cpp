// Commands to frames.
#include "lib/h2/tunnel.h"

#include "lib/base/check.h"

#include <algorithm>
#include <utility>

namespace culvert::h2 {

bool Engine::can_connect() const {
    return role_ == Role::client && peer_ready_ && !failed_ && !going_away() &&
           next_stream_ <= stream_id_max &&
           streams_.size() < std::min(settings_.streams_max, peer_streams_max_);
}

Result<StreamId> Engine::connect(const ConnectRequest& request) {
    check(role_ == Role::client);
    if (failed_) return refuse(Reason::closed);
    if (going_away()) return refuse(Reason::h2_going_away);
    if (!peer_ready_) return refuse(Reason::not_synced);
    if (!can_connect()) return refuse(Reason::limit);
    TRY(Buffer block, encode(request, peer_header_list_max_));
    StreamId id = std::exchange(next_stream_, next_stream_ + 2);
    add_stream(id, false);
    append_headers(id, block, false);
    return id;
}

void Engine::respond(StreamId id, const ConnectResponse& response) {
    check(role_ == Role::server);
    Stream* to = stream(id);
    if (to == nullptr || to->open || failed_) return;
    auto block = encode(response, peer_header_list_max_);
    // Baggage that cannot travel must not cost the tunnel: it is telemetry only (H-25).
    if (!block) block = encode(ConnectResponse{.status = response.status, .baggage = {}}, header_block_max);
    check(block.has_value());
    append_headers(id, *block, !response.opens());
    if (response.opens()) return open(*to);
    to->ended_here = true;
    // RFC 9113 8.1: the answer is complete, and the rest of the request is not wanted.
    reset(id, Code::no_error);
    patience_.spend(cost_refused_connect);
}

void Engine::reset(StreamId id, Code code) {
    Stream* to = stream(id);
    if (to == nullptr) return;
    bool over = to->ended_here && to->ended_there;  // closed for the peer: nothing to say
    if (!over && !failed_) append_number(FrameType::rst_stream, id, static_cast<std::uint32_t>(code));
    erase(id);
}

Event Engine::stream_error(StreamId id, Code code) {
    reset(id, code);
    return Event{.kind = Event::Kind::reset, .stream = id, .code = code};
}

std::size_t Engine::send_allowance(StreamId id) const {
    const Stream* to = find(id);
    if (to == nullptr || !to->open || to->ended_here || failed_) return 0;
    return static_cast<std::size_t>(
        std::max<std::int64_t>(0, std::min<std::int64_t>(to->send_window, send_window_)));
}

std::optional<FrameHeaderBytes> Engine::frame_data(StreamId id, std::size_t size, bool end) {
    Stream* to = stream(id);
    if (to == nullptr || !to->open || to->ended_here || failed_) return std::nullopt;
    check(size <= data_max && (size == 0 || size <= send_allowance(id)));
    to->send_window -= static_cast<std::int32_t>(size);
    send_window_ -= static_cast<std::int64_t>(size);
    // A peer may answer each frame with credit for the stream and the connection, or for every KB that its
    // app reads.
    constexpr std::uint32_t earned_max = 100'000;
    updates_earned_ =
        std::min<std::uint32_t>(earned_max, updates_earned_ + 2 + static_cast<std::uint32_t>(size / 1024));
    to->ended_here = end;
    FrameHeader header{.size = static_cast<std::uint32_t>(size), .type = FrameType::data, .stream = id};
    header.flags = end ? flag_end_stream : 0;
    close_if_done(id);
    return frame_header_bytes(header);
}

void Engine::ping(std::uint64_t value) {
    if (failed_) return;
    std::array<std::byte, 8> payload;
    put_big_endian(payload.data(), value, payload.size());
    append_frame(output_, {.type = FrameType::ping}, payload);
    ++pings_sent_;
}

void Engine::drain() {
    if (failed_ || drain_sent_ || final_goaway_sent_) return;
    if (role_ == Role::client) return goaway(Code::no_error);  // servers open no streams: one GOAWAY says all
    drain_sent_ = true;
    append_goaway(stream_id_max, Code::no_error);
    ping(drain_ping);
}

void Engine::goaway(Code code) {
    if (failed_ || (final_goaway_sent_ && code == Code::no_error)) return;
    final_goaway_sent_ = true;
    append_goaway(last_peer_stream_, code);
}

void Engine::append_headers(StreamId id, ConstBytes block, bool end) {
    FrameHeader header{.type = FrameType::headers, .stream = id};
    header.flags = end ? flag_end_stream : 0;
    do {  // frames of 16,384 are always allowed
        ConstBytes piece = block.first(std::min<std::size_t>(block.size(), frame_max_default));
        block = block.subspan(piece.size());
        if (block.empty()) header.flags |= flag_end_headers;
        append_frame(output_, header, piece);
        header.type = FrameType::continuation;
        header.flags = 0;
    } while (!block.empty());
}

void Engine::append_number(FrameType type, StreamId id, std::uint32_t value) {
    std::array<std::byte, 4> payload;
    put_big_endian(payload.data(), value, payload.size());
    append_frame(output_, {.type = type, .stream = id}, payload);
}

void Engine::append_goaway(StreamId last, Code code) {
    std::array<std::byte, 8> payload;
    put_big_endian(&payload[0], last, 4);
    put_big_endian(&payload[4], static_cast<std::uint32_t>(code), 4);
    append_frame(output_, {.type = FrameType::goaway}, payload);
}

}  // namespace culvert::h2
