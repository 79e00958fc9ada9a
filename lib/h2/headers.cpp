// Header blocks to requests and responses. A block is always decoded to its end, whoever it is for: the
// coder's state is the connection's. What is malformed ends a stream, never the connection (S20); only a
// block that does not decode does.
#include "lib/h2/tunnel.h"

#include <utility>

namespace culvert::h2 {
namespace {

// False: the block does not decode.
template <class Reader> bool read_block(HeaderDecoder& decoder, ConstBytes block, Reader& to) {
    FieldReader fields(decoder, block);
    for (;;) {
        switch (fields.next()) {
        case FieldReader::Step::field: to.take(fields.field()); break;
        case FieldReader::Step::end: return true;
        case FieldReader::Step::broken: return false;
        }
    }
}

struct Nobody {
    void take(const Field&) {}
};

}  // namespace

Engine::Step Engine::on_headers(ConstBytes payload) {
    std::size_t padding = 0;
    if (frame_.has(flag_padded)) {
        if (payload.empty()) return fail(Code::frame_size_error);
        padding = std::to_integer<std::size_t>(payload[0]);
        payload = payload.subspan(1);
    }
    if (frame_.has(flag_priority)) {
        if (payload.size() < 5) return fail(Code::frame_size_error);
        payload = payload.subspan(5);
    }
    if (padding > payload.size()) return fail(Code::protocol_error);
    payload = payload.first(payload.size() - padding);
    block_stream_ = frame_.stream;
    block_ends_stream_ = frame_.has(flag_end_stream);
    continuations_ = 0;
    block_.assign(payload.begin(), payload.end());
    return frame_.has(flag_end_headers) ? block_complete() : Step();
}

Engine::Step Engine::block_complete() {
    StreamId id = std::exchange(block_stream_, 0);
    Step step;
    Stream* to = stream(id);
    if (role_ == Role::server && id > last_peer_stream_)
        step = on_request(id);
    else if (role_ == Role::client && to != nullptr && !to->open && !to->ended_there)
        step = on_response(*to);
    else
        step = on_unwanted_block(id);
    Buffer().swap(block_);
    return step;
}

Engine::Step Engine::on_request(StreamId id) {
    last_peer_stream_ = id;
    RequestReader reader(settings_.header_list_max);
    if (!read_block(decoder_, block_, reader)) return fail(Code::compression_error);
    // After the last id was named, or with every place taken: nothing was done for it, it may be tried
    // elsewhere.
    bool no_place = final_goaway_sent_ || streams_.size() >= settings_.streams_max;
    if (no_place) return refuse_request(id, Code::refused_stream, cost_other);
    switch (reader.finish()) {
    case Verdict::good: break;
    case Verdict::malformed: return refuse_request(id, Code::protocol_error, cost_refused_connect);
    case Verdict::too_large: return refuse_request(id, Code::enhance_your_calm, cost_refused_connect);
    }
    add_stream(id, block_ends_stream_);
    return Event{.kind = Event::Kind::request,
                 .stream = id,
                 .end = block_ends_stream_,
                 .request = std::move(reader.request())};
}

Engine::Step Engine::refuse_request(StreamId id, Code code, std::int32_t cost) {
    if (!spend(cost)) return fail(Code::enhance_your_calm);
    append_number(FrameType::rst_stream, id, static_cast<std::uint32_t>(code));
    return Event{.kind = Event::Kind::refused, .stream = id, .code = code};
}

Engine::Step Engine::on_response(Stream& to) {
    StreamId id = to.id;
    ResponseReader reader(settings_.header_list_max);
    if (!read_block(decoder_, block_, reader)) return fail(Code::compression_error);
    switch (reader.finish()) {
    case Verdict::good: break;
    case Verdict::malformed: return stream_error(id, Code::protocol_error);
    case Verdict::too_large: return stream_error(id, Code::enhance_your_calm);
    }
    int status = reader.response().status;
    if (status < 200) {  // an interim response: the real one follows, so the stream cannot end here
        if (block_ends_stream_) return stream_error(id, Code::protocol_error);
        return spend(cost_other) ? Step() : fail(Code::enhance_your_calm);
    }
    Event event{.kind = Event::Kind::response, .stream = id, .end = block_ends_stream_};
    event.response = std::move(reader.response());
    if (!event.response->opens()) {
        reset(id, Code::cancel);  // we have nothing more to say to a refusal (H-33)
        return event;
    }
    open(to);
    if (block_ends_stream_) end_there(to);
    return event;
}

// For a stream that is gone: decoded and forgotten. For a tunnel that is open: RFC 9113 8.5 allows nothing
// but DATA there, so trailers are a stream error and not a clean end.
Engine::Step Engine::on_unwanted_block(StreamId id) {
    Nobody nobody;
    if (!read_block(decoder_, block_, nobody)) return fail(Code::compression_error);
    const Stream* to = find(id);
    if (to != nullptr) return stream_error(id, to->ended_there ? Code::stream_closed : Code::protocol_error);
    return spend(cost_other) ? Step() : fail(Code::enhance_your_calm);
}

}  // namespace culvert::h2
