// Hand-over: an engine as bytes, at any byte boundary of either direction, and back. The reader is another
// process of this machine and of our own build or the next one; it still believes nothing that would make the
// engine leave its limits.
#include "lib/h2/tunnel.h"

#include <algorithm>
#include <type_traits>

namespace culvert::h2 {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr std::size_t state_output_max = 2 * output_max;

template <class T> void read(Decoder& from, T& to) { to = from.number<T>(); }
void read(Decoder& from, bool& to) { to = from.number<std::uint8_t>() != 0; }  // not every byte is a bool

bool sound_stream(const Stream& each, const Settings& settings) {
    // Held and unannounced may pass the window only by what a peer could send before it knew our SETTINGS.
    std::uint64_t most = std::uint64_t{settings.window_max} + window_default;
    std::uint64_t counted =
        std::uint64_t{each.held} + each.unannounced + std::uint64_t(std::max(0, each.receive_window));
    return each.id % 2 == 1 && each.window >= settings.window_first && each.window <= settings.window_max &&
           counted <= 2 * most && each.drained <= 2 * most;
}

template <class Self, class F> void each_stream_number(Self& stream, F&& f) {
    f(stream.id);
    f(stream.send_window);
    f(stream.receive_window);
    f(stream.window);
    f(stream.held);
    f(stream.unannounced);
    f(stream.drained);
    f(stream.open);
    f(stream.ended_here);
    f(stream.ended_there);
}

Buffer to_buffer(ConstBytes bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

// One list for both directions, so that they cannot differ.
template <class Self, class F> void Engine::each_number(Self& self, F&& f) {
    f(self.settings_.streams_max);
    f(self.settings_.window_first);
    f(self.settings_.window_open);
    f(self.settings_.window_max);
    f(self.settings_.growth_max);
    f(self.settings_.frame_max);
    f(self.settings_.header_list_max);
    f(self.peer_window_first_);
    f(self.peer_frame_max_);
    f(self.peer_streams_max_);
    f(self.peer_header_list_max_);
    f(self.send_window_);
    f(self.updates_earned_);
    f(self.goaway_last_);
    f(self.peer_ready_);
    f(self.settings_acknowledged_);
    f(self.goaway_received_);
    f(self.drain_sent_);
    f(self.final_goaway_sent_);
    f(self.failed_);
    f(self.failure_);
    f(self.pings_sent_);
    f(self.next_stream_);
    f(self.last_peer_stream_);
    f(self.receive_window_);
    f(self.unannounced_);
    f(self.growth_max_);
    f(self.preface_left_);
    f(self.head_have_);
    f(self.pad_);
    f(self.continuations_);
    f(self.in_frame_);
    f(self.skipping_);
    f(self.pad_known_);
    f(self.block_ends_stream_);
    f(self.left_);
    f(self.block_stream_);
}

void Engine::save(Encoder& to) const {
    to.number(state_version);
    to.number(role_);
    each_number(*this, [&to](const auto& each) { to.number(each); });
    to.number(patience_.left());
    to.fixed(head_);
    to.bytes(payload_);
    to.bytes(block_);
    to.bytes(output_);
    decoder_.save(to);
    to.number(static_cast<std::uint32_t>(streams_.size()));
    for (const Stream& each : streams_)
        each_stream_number(each, [&to](const auto& value) { to.number(value); });
}

Result<Engine> Engine::load(Decoder& from) {
    auto version = from.number<std::uint8_t>();
    auto role = from.number<Role>();
    if (!from.ok() || version != state_version || role > Role::server) return refuse(Reason::bad_input);
    Engine engine(role, Settings{});
    each_number(engine, [&from](auto& each) { read(from, each); });
    engine.patience_ = Patience::restored(from.number<std::int32_t>());
    std::ranges::copy(from.fixed(frame_header_size), engine.head_.begin());
    engine.payload_ = to_buffer(from.bytes());
    engine.block_ = to_buffer(from.bytes());
    engine.output_ = to_buffer(from.bytes());
    if (!engine.decoder_.load(from)) return refuse(Reason::bad_input);
    auto streams = from.number<std::uint32_t>();
    if (!from.ok() || streams > streams_limit) return refuse(Reason::bad_input);
    for (std::uint32_t i = 0; i < streams; ++i) {
        Stream& each = engine.streams_.emplace_back();
        each_stream_number(each, [&from](auto& value) { read(from, value); });
    }
    if (engine.in_frame_) engine.frame_ = parse_frame_header(engine.head_);
    if (!from.ok() || !engine.sound()) return refuse(Reason::bad_input);
    for (const Stream& each : engine.streams_) engine.growth_ += each.window - engine.settings_.window_first;
    return engine;
}

// What the rest of the engine relies on without looking again.
bool Engine::sound() const {
    bool limits = settings_.sound() && growth_max_ <= settings_.growth_max &&
                  peer_window_first_ <= window_max && payload_.size() <= header_block_max &&
                  block_.size() <= header_block_max && output_.size() <= state_output_max &&
                  send_window_ <= window_max && receive_window_ <= window_max;
    // A failed engine reads nothing more, wherever it stopped.
    bool place =
        failed_ || (head_have_ < frame_header_size && preface_left_ <= preface.size() &&
                    (!in_frame_ || (left_ <= frame_.size && frame_.size <= settings_.frame_max)) &&
                    (payload_.empty() || (in_frame_ && !skipping_ && payload_.size() < payload_wanted())));
    auto by_id = [](const Stream& a, const Stream& b) { return a.id < b.id; };
    bool sorted = std::ranges::adjacent_find(streams_, [&](auto& a, auto& b) { return !by_id(a, b); }) ==
                  streams_.end();
    bool streams =
        std::ranges::all_of(streams_, [this](auto& each) { return sound_stream(each, settings_); });
    return limits && place && sorted && streams;
}

}  // namespace culvert::h2
