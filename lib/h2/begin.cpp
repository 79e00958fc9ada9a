// A frame begins: everything that can be judged by its header alone is judged before a byte of payload is
// kept.
#include "lib/h2/tunnel.h"

namespace culvert::h2 {
namespace {

constexpr std::uint32_t settings_frame_max = 64 * setting_size;  // six are defined; the rest is grease
constexpr std::uint32_t worthless = 1024;  // DATA of dead streams below this costs patience

}  // namespace

Engine::Step Engine::frame_begins() {
    if (patience_.gone())
        return fail(Code::enhance_your_calm);  // spent by our own answers: refused CONNECTs (S21)
    if (frame_.size > settings_.frame_max) return fail(Code::frame_size_error);
    bool settings = frame_.type == FrameType::settings && !frame_.has(flag_ack);
    if (!peer_ready_ && !settings) return fail(Code::protocol_error);  // RFC 9113 3.4: SETTINGS come first
    bool continues = frame_.type == FrameType::continuation && frame_.stream == block_stream_;
    if (block_stream_ != 0 && !continues) return fail(Code::protocol_error);
    switch (frame_.type) {
    case FrameType::data: return data_begins();
    case FrameType::headers: return headers_begin();
    case FrameType::continuation: return continuation_begins();
    case FrameType::priority: return priority_begins();
    case FrameType::rst_stream:
    case FrameType::window_update: return frame_.size == 4 ? Step() : fail(Code::frame_size_error);
    case FrameType::settings:
    case FrameType::ping:
    case FrameType::goaway: return connection_frame_begins();
    case FrameType::push_promise:
        return fail(Code::protocol_error);  // clients never push, and we forbade it as a client
    }
    return ignore(cost_other);  // extensions and grease (RFC 9113 5.5)
}

Engine::Step Engine::ignore(std::int32_t cost) {
    skipping_ = true;
    return spend(cost) ? Step() : fail(Code::enhance_your_calm);
}

Engine::Step Engine::data_begins() {
    if (!was_opened(frame_.stream)) return fail(Code::protocol_error);
    if (left_ > receive_window_) return fail(Code::flow_control_error);
    receive_window_ -= left_;
    Stream* to = stream(frame_.stream);
    if (to == nullptr) {
        // Closed, perhaps by a reset that the peer has not seen: nobody will read this, so the credit goes
        // back now.
        credit_connection(left_);
        return ignore(left_ < worthless ? cost_other : 0);
    }
    bool early = role_ == Role::client && !to->open;  // DATA before the response: malformed (RFC 9113 8.1)
    if (to->ended_there || early) {
        skipping_ = true;
        credit_connection(left_);
        return stream_error(to->id, early ? Code::protocol_error : Code::stream_closed);
    }
    if (std::int64_t{left_} > to->receive_window) return fail(Code::flow_control_error);
    to->receive_window -= static_cast<std::int32_t>(left_);
    bool pointless = left_ == 0 && !frame_.has(flag_end_stream);
    if (pointless && !spend(cost_other)) return fail(Code::enhance_your_calm);
    return std::nullopt;
}

Engine::Step Engine::headers_begin() {
    if (frame_.stream % 2 == 0) return fail(Code::protocol_error);  // 0, or a stream that only servers open
    if (role_ == Role::client && !was_opened(frame_.stream)) return fail(Code::protocol_error);
    if (left_ > header_block_max) return fail(Code::enhance_your_calm);
    return std::nullopt;
}

Engine::Step Engine::continuation_begins() {
    if (block_stream_ == 0) return fail(Code::protocol_error);
    bool endless = ++continuations_ > continuations_max || block_.size() + left_ > header_block_max;
    return endless ? fail(Code::enhance_your_calm) : Step();
}

// Deprecated by RFC 9113, still sent by some.
Engine::Step Engine::priority_begins() {
    if (frame_.stream == 0) return fail(Code::protocol_error);
    Step ignored = ignore(cost_other);
    if (!ignored || left_ == 5 || stream(frame_.stream) == nullptr) return ignored;
    return stream_error(frame_.stream, Code::frame_size_error);
}

Engine::Step Engine::connection_frame_begins() {
    if (frame_.stream != 0) return fail(Code::protocol_error);
    switch (frame_.type) {
    case FrameType::ping: return left_ == 8 ? Step() : fail(Code::frame_size_error);
    case FrameType::goaway: return left_ >= 8 ? Step() : fail(Code::frame_size_error);
    default: break;
    }
    if (left_ % setting_size != 0 || (frame_.has(flag_ack) && left_ > 0)) return fail(Code::frame_size_error);
    return left_ <= settings_frame_max ? Step() : fail(Code::enhance_your_calm);
}

}  // namespace culvert::h2
