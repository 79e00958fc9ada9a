// Frames to events: DATA as it comes, everything else when its payload is complete.
#include "lib/h2/tunnel.h"

#include <algorithm>

namespace culvert::h2 {

// Called with whatever is there; each call gives one event, or needs more, or ends the frame.
Engine::Step Engine::take_data(ConstBytes& input) {
    Stream* to = stream(frame_.stream);
    if (to == nullptr) {  // reset by us in the middle of the frame
        credit_connection(left_);
        skipping_ = true;
        skip(input);
        return std::nullopt;
    }
    if (frame_.has(flag_padded) && !pad_known_) {
        if (left_ == 0) return fail(Code::frame_size_error);
        if (input.empty()) return std::nullopt;
        pad_ = std::to_integer<std::uint8_t>(input[0]);
        pad_known_ = true;
        input = input.subspan(1);
        --left_;
        if (pad_ > left_) return fail(Code::protocol_error);
        bool pointless = pad_ == left_ && !frame_.has(flag_end_stream);
        if (pointless && !spend(cost_other)) return fail(Code::enhance_your_calm);
        to->held += 1u + pad_;
        consumed(to->id, 1u + pad_);  // nobody waits for padding
    }
    if (left_ > pad_) {
        std::size_t size = std::min<std::size_t>(left_ - pad_, input.size());
        if (size == 0) return std::nullopt;
        Event event{.kind = Event::Kind::data, .stream = to->id, .bytes = input.first(size)};
        input = input.subspan(size);
        left_ -= static_cast<std::uint32_t>(size);
        to->held += static_cast<std::uint32_t>(size);
        if (left_ == 0 && !frame_.has(flag_end_stream)) end_frame();
        return event;
    }
    skip(input);
    if (in_frame_ || !frame_.has(flag_end_stream)) return std::nullopt;
    StreamId id = to->id;
    end_there(*to);
    return Event{.kind = Event::Kind::ended, .stream = id, .end = true};
}

Engine::Step Engine::frame_complete(ConstBytes payload) {
    switch (frame_.type) {
    case FrameType::settings: return frame_.has(flag_ack) ? on_settings_acknowledged() : on_settings(payload);
    case FrameType::window_update: return on_window_update(payload);
    case FrameType::headers: return on_headers(payload);
    case FrameType::continuation:
        append(block_, payload);
        return frame_.has(flag_end_headers) ? block_complete() : Step();
    case FrameType::rst_stream: return on_rst_stream(payload);
    case FrameType::ping: return on_ping(payload);
    case FrameType::goaway: return on_goaway(payload);
    default: return std::nullopt;
    }
}

Engine::Step Engine::on_settings_acknowledged() {
    if (settings_acknowledged_) return spend(cost_settings) ? Step() : fail(Code::enhance_your_calm);
    settings_acknowledged_ = true;
    decoder_.table_closed();
    // RFC 9113 6.9.2: until now the peer counted streams from 65,535.
    for (Stream& each : streams_) {
        each.receive_window +=
            static_cast<std::int32_t>(settings_.window_first) - std::int32_t{window_default};
    }
    return std::nullopt;
}

Engine::Step Engine::on_settings(ConstBytes payload) {
    if (!spend(peer_ready_ ? cost_settings : 0)) return fail(Code::enhance_your_calm);
    peer_ready_ = true;
    for (; !payload.empty(); payload = payload.subspan(setting_size)) {
        auto id = static_cast<Setting>(get_big_endian(payload.data(), 2));
        auto value = static_cast<std::uint32_t>(get_big_endian(payload.data() + 2, 4));
        Code wrong = apply(id, value);
        if (wrong != Code::no_error) return fail(wrong);
    }
    append_frame(output_, {.type = FrameType::settings, .flags = flag_ack}, {});
    return Event{.kind = Event::Kind::settings};
}

Code Engine::apply(Setting id, std::uint32_t value) {
    switch (id) {
    case Setting::enable_push:
        // RFC 9113 6.5.2: a server that says 1 is broken.
        return value > (role_ == Role::client ? 0 : 1) ? Code::protocol_error : Code::no_error;
    case Setting::max_concurrent_streams: peer_streams_max_ = value; return Code::no_error;
    case Setting::initial_window_size: return change_window_first(value);
    case Setting::max_frame_size:
        if (value < frame_max_default || value > frame_max_limit) return Code::protocol_error;
        peer_frame_max_ = value;
        return Code::no_error;
    case Setting::max_header_list_size: peer_header_list_max_ = value; return Code::no_error;
    case Setting::header_table_size: return Code::no_error;  // we never index
    }
    return Code::no_error;  // extensions and grease
}

Code Engine::change_window_first(std::uint32_t value) {
    if (value > window_max) return Code::flow_control_error;
    std::int64_t change = std::int64_t{value} - peer_window_first_;
    for (Stream& each : streams_) {
        if (each.send_window + change > window_max) return Code::flow_control_error;
        each.send_window = static_cast<std::int32_t>(each.send_window + change);
    }
    peer_window_first_ = value;
    return Code::no_error;
}

Engine::Step Engine::on_window_update(ConstBytes payload) {
    StreamId id = frame_.stream;
    std::int64_t more = static_cast<std::int64_t>(get_big_endian(payload.data(), 4)) & window_max;
    // Credit that our DATA explains is free, else it costs: a flood of small ones, or of any for streams long
    // gone.
    if (updates_earned_ > 0)
        --updates_earned_;
    else if (!spend(cost_other))
        return fail(Code::enhance_your_calm);
    if (id == 0) {
        if (more == 0) return fail(Code::protocol_error);
        if (send_window_ + more > window_max) return fail(Code::flow_control_error);
        send_window_ += more;
        return Event{.kind = Event::Kind::window};
    }
    if (!was_opened(id)) return fail(Code::protocol_error);
    Stream* to = stream(id);
    if (to == nullptr) return std::nullopt;
    if (more == 0) return stream_error(id, Code::protocol_error);
    if (to->send_window + more > window_max) return stream_error(id, Code::flow_control_error);
    to->send_window = static_cast<std::int32_t>(to->send_window + more);
    return Event{.kind = Event::Kind::window, .stream = id};
}

Engine::Step Engine::on_rst_stream(ConstBytes payload) {
    StreamId id = frame_.stream;
    if (!was_opened(id)) return fail(Code::protocol_error);
    auto code = static_cast<Code>(get_big_endian(payload.data(), 4));
    Stream* to = stream(id);
    // Both ends were told already, and only bytes on their way to the app keep the stream here: nothing is
    // cut.
    bool over = to == nullptr || (to->ended_here && to->ended_there);
    bool early = role_ == Role::server && !over && !to->open;
    std::int32_t cost = 0;
    if (over) cost = cost_other;
    if (early) cost = cost_early_reset;
    if (!spend(cost)) return fail(Code::enhance_your_calm);
    if (over) return std::nullopt;
    erase(id);
    return Event{
        .kind = Event::Kind::reset, .stream = id, .code = code, .retry = code == Code::refused_stream};
}

Engine::Step Engine::on_ping(ConstBytes payload) {
    std::uint64_t value = get_big_endian(payload.data(), 8);
    if (!frame_.has(flag_ack)) {
        if (!spend(cost_ping)) return fail(Code::enhance_your_calm);
        append_frame(output_, {.type = FrameType::ping, .flags = flag_ack}, payload);
        return std::nullopt;
    }
    if (pings_sent_ == 0) return spend(cost_ping) ? Step() : fail(Code::enhance_your_calm);
    --pings_sent_;
    if (value != drain_ping) return Event{.kind = Event::Kind::pong, .value = value};
    if (drain_sent_)
        goaway(Code::no_error);  // what was under way when we announced the drain has arrived by now
    return std::nullopt;
}

Engine::Step Engine::on_goaway(ConstBytes payload) {
    if (goaway_received_ && !spend(cost_other)) return fail(Code::enhance_your_calm);
    goaway_received_ = true;
    auto last = static_cast<StreamId>(get_big_endian(payload.data(), 4)) & stream_id_max;
    goaway_last_ =
        std::min(goaway_last_, last);  // it may not rise (RFC 9113 6.8); one that does says nothing new
    auto code = static_cast<Code>(get_big_endian(payload.data() + 4, 4));
    return Event{.kind = Event::Kind::goaway, .code = code, .last = goaway_last_};
}

}  // namespace culvert::h2
