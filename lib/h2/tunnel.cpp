// Bytes to frames: where in the byte stream we are, and whom a frame is handed to.
#include "lib/h2/tunnel.h"

#include "lib/base/check.h"

#include <algorithm>

namespace culvert::h2 {

Settings client_settings() {
    Settings settings;
    settings.streams_max = 100;
    settings.header_list_max = 16u << 10;
    return settings;
}

Settings server_settings() { return {}; }

bool Settings::sound() const {
    // (1,000 streams * 1 MiB + 512 MiB) and an eighth stay below the 2^31 of RFC 9113 6.9.1.
    return streams_max >= 1 && streams_max <= streams_limit && window_first >= 1 &&
           window_first <= 1u << 20 && window_first <= window_open && window_open <= window_max &&
           window_max <= 64u << 20 && growth_max <= 512u << 20 && frame_max >= frame_max_default &&
           frame_max <= frame_max_limit && header_list_max >= 1024 && header_list_max <= 1u << 20;
}

Engine::Engine(Role role, const Settings& own) : role_(role), settings_(own), growth_max_(own.growth_max) {
    check(own.sound());
    Buffer pairs;
    append_setting(pairs, Setting::header_table_size, 0);
    if (role == Role::client) append_setting(pairs, Setting::enable_push, 0);
    if (role == Role::server) append_setting(pairs, Setting::max_concurrent_streams, own.streams_max);
    append_setting(pairs, Setting::initial_window_size, own.window_first);
    append_setting(pairs, Setting::max_frame_size, own.frame_max);
    append_setting(pairs, Setting::max_header_list_size, own.header_list_max);
    if (role == Role::client) append(output_, as_bytes(preface));
    append_frame(output_, {.type = FrameType::settings}, pairs);
    std::uint32_t more = connection_window() - window_default;
    if (more > 0) append_number(FrameType::window_update, 0, more);
    receive_window_ += more;
    if (role == Role::server) preface_left_ = static_cast<std::uint8_t>(preface.size());
}

Result<std::optional<Event>> Engine::next(ConstBytes& input) {
    if (failed_) return fail(failure_);
    for (;;) {
        if (auto event = unserved_stream()) return event;
        if (!take_preface(input)) return fail(Code::protocol_error);
        if (preface_left_ > 0) return std::nullopt;
        if (!in_frame_) {
            if (!take_head(input)) return std::nullopt;
            Step begun = frame_begins();
            if (!begun || *begun) return begun;
        }
        Step taken = take_frame(input);
        if (!taken || *taken) return taken;
        if (in_frame_)
            return std::nullopt;  // nothing to tell and not at the frame's end: more bytes are needed
    }
}

// False: this is no HTTP/2 client.
bool Engine::take_preface(ConstBytes& input) {
    if (preface_left_ == 0) return true;
    ConstBytes wanted = as_bytes(preface).last(preface_left_);
    std::size_t size = std::min(wanted.size(), input.size());
    if (!std::ranges::equal(input.first(size), wanted.first(size))) return false;
    input = input.subspan(size);
    preface_left_ = static_cast<std::uint8_t>(preface_left_ - size);
    return true;
}

// True: the nine bytes are complete and a frame begins.
bool Engine::take_head(ConstBytes& input) {
    std::size_t size = std::min(frame_header_size - head_have_, input.size());
    std::ranges::copy(input.first(size), head_.begin() + head_have_);
    head_have_ = static_cast<std::uint8_t>(head_have_ + size);
    input = input.subspan(size);
    if (head_have_ < frame_header_size) return false;
    head_have_ = 0;
    frame_ = parse_frame_header(head_);
    left_ = frame_.size;
    pad_ = 0;
    pad_known_ = false;
    skipping_ = false;
    in_frame_ = true;
    return true;
}

Engine::Step Engine::take_frame(ConstBytes& input) {
    if (skipping_) {
        skip(input);
        return std::nullopt;
    }
    return frame_.type == FrameType::data ? take_data(input) : take_payload(input);
}

void Engine::skip(ConstBytes& input) {
    std::size_t size = std::min<std::size_t>(left_, input.size());
    input = input.subspan(size);
    left_ -= static_cast<std::uint32_t>(size);
    if (left_ == 0) end_frame();
}

// What is gathered before a frame is handled; of GOAWAY the rest is for people who debug.
std::uint32_t Engine::payload_wanted() const {
    constexpr std::uint32_t goaway_wanted = 8;
    return frame_.type == FrameType::goaway ? std::min(left_, goaway_wanted) : left_;
}

// Everything but DATA is small (begin.cpp bounds it) and handled whole.
Engine::Step Engine::take_payload(ConstBytes& input) {
    std::uint32_t size = payload_wanted();
    ConstBytes whole;
    if (payload_.empty() && input.size() >= size) {  // the usual case: no copy
        whole = input.first(size);
        input = input.subspan(size);
    } else {
        std::size_t more = std::min<std::size_t>(size - payload_.size(), input.size());
        append(payload_, input.first(more));
        input = input.subspan(more);
        if (payload_.size() < size) return std::nullopt;
        whole = payload_;
    }
    left_ -= size;
    skipping_ = left_ > 0;
    if (!skipping_) in_frame_ = false;
    Step step = frame_complete(whole);
    Buffer().swap(payload_);  // an idle connection keeps no memory for this
    return step;
}

void Engine::end_frame() {
    in_frame_ = false;
    skipping_ = false;
}

// After GOAWAY: the streams that the server will not serve, one event each (RFC 9113 6.8).
std::optional<Event> Engine::unserved_stream() {
    if (!goaway_received_ || role_ == Role::server || streams_.empty()) return std::nullopt;
    StreamId id = streams_.back().id;
    if (id <= goaway_last_) return std::nullopt;
    erase(id);
    return Event{.kind = Event::Kind::reset, .stream = id, .code = Code::refused_stream, .retry = true};
}

Engine::Step Engine::fail(Code code) {
    if (!failed_) {
        failed_ = true;
        failure_ = code;
        append_goaway(last_peer_stream_, code);
    }
    bool flood = failure_ == Code::enhance_your_calm;
    return refuse(flood ? Reason::h2_flood : Reason::h2_protocol, static_cast<int>(failure_));
}

bool Engine::spend(std::int32_t cost) { return patience_.spend(cost) && output_.size() <= output_max; }

void Engine::tick() {
    patience_.refill(patience_a_second);
    for (Stream& each : streams_) each.drained = 0;
}

bool Engine::tick_wanted() const {
    return !patience_.full() ||
           std::ranges::any_of(streams_, [](const Stream& each) { return each.drained > 0; });
}

void Engine::output_taken() {
    constexpr std::size_t kept = 512;  // a turn's usual frames; after a burst the memory goes back
    if (output_.capacity() > kept) Buffer().swap(output_);
    output_.clear();
}

const Stream* Engine::find(StreamId id) const {
    auto at = std::ranges::lower_bound(streams_, id, {}, &Stream::id);
    return at != streams_.end() && at->id == id ? &*at : nullptr;
}

Stream* Engine::stream(StreamId id) { return const_cast<Stream*>(find(id)); }

bool Engine::was_opened(StreamId id) const {
    return id % 2 == 1 && (role_ == Role::server ? id <= last_peer_stream_ : id < next_stream_);
}

}  // namespace culvert::h2
