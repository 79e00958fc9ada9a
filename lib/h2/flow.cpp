// Flow control of what we receive, and the life of a stream (S18). Once the peer knows our SETTINGS:
//
//   a stream: credit at the peer + in the current frame + held + unannounced = window
//
//   the link: sum of windows <= streams_max * window_first + growth_max
//
// The connection's window is that bound and an eighth; at most the eighth is ever unannounced. So the credit
// left on the connection always covers the credit left on all streams: nobody starves because others do not
// read.
#include "lib/h2/tunnel.h"

#include "lib/base/check.h"

#include <algorithm>

namespace culvert::h2 {

std::uint32_t Engine::connection_window() const {
    std::uint32_t windows = settings_.streams_max * settings_.window_first + settings_.growth_max;
    return std::max(window_default, windows + windows / 8);
}

void Engine::credit_connection(std::size_t size) {
    unannounced_ += static_cast<std::uint32_t>(size);
    if (unannounced_ < connection_window() / 9 || failed_) return;
    append_number(FrameType::window_update, 0, unannounced_);
    receive_window_ += unannounced_;
    unannounced_ = 0;
}

void Engine::announce(Stream& to) {
    if (to.unannounced == 0 || failed_) return;
    append_number(FrameType::window_update, to.id, to.unannounced);
    to.receive_window += static_cast<std::int32_t>(to.unannounced);
    to.unannounced = 0;
}

void Engine::consumed(StreamId id, std::size_t size) {
    Stream* to = stream(id);
    if (to == nullptr) return;  // its credit went back when it was erased
    check(to->held >= size);
    to->held -= static_cast<std::uint32_t>(size);
    credit_connection(size);
    if (to->ended_there) {
        shrink(*to);
        return close_if_done(id);
    }
    to->unannounced += static_cast<std::uint32_t>(size);
    to->drained += static_cast<std::uint32_t>(size);
    if (to->open && to->drained >= to->window) {
        // Within one tick the app took all that the peer may have under way: the window may be what limits
        // them.
        to->drained = 0;
        grow(*to, to->window * 2);
    }
    if (to->unannounced >= to->window / 4) announce(*to);
}

void Engine::grow(Stream& to, std::uint32_t wanted) {
    wanted = std::min(wanted, settings_.window_max);
    if (wanted <= to.window || growth_ >= growth_max_) return;
    std::uint32_t more = std::min(wanted - to.window, growth_max_ - growth_);
    to.window += more;
    to.unannounced += more;
    growth_ += more;
    announce(to);
}

// The peer sends no more on this stream: only bytes that are still held count against the budget.
void Engine::shrink(Stream& to) {
    std::uint32_t kept = std::max(settings_.window_first, to.held);
    if (to.window <= kept) return;
    growth_ -= to.window - kept;
    to.window = kept;
}

void Engine::set_growth_max(std::uint32_t bytes) { growth_max_ = std::min(bytes, settings_.growth_max); }

Stream& Engine::add_stream(StreamId id, bool ended_there) {
    // Until the peer acknowledged our SETTINGS it counts from 65,535 (RFC 9113 6.9.2).
    std::uint32_t credit = settings_acknowledged_ ? settings_.window_first : window_default;
    Stream fresh;
    fresh.id = id;
    fresh.send_window = static_cast<std::int32_t>(peer_window_first_);
    fresh.receive_window = static_cast<std::int32_t>(credit);
    fresh.window = settings_.window_first;
    fresh.ended_there = ended_there;
    return streams_.emplace_back(fresh);
}

void Engine::open(Stream& to) {
    to.open = true;
    if (!to.ended_there) grow(to, settings_.window_open);
}

void Engine::end_there(Stream& to) {
    to.ended_there = true;
    shrink(to);
    close_if_done(to.id);
}

// A stream whose bytes are still on the way to the app keeps its place, so that a peer cannot have more of
// them than places.
void Engine::close_if_done(StreamId id) {
    const Stream* to = find(id);
    if (to != nullptr && to->ended_here && to->ended_there && to->held == 0) erase(id);
}

void Engine::erase(StreamId id) {
    Stream* to = stream(id);
    growth_ -= to->window - settings_.window_first;
    credit_connection(to->held);
    streams_.erase(streams_.begin() + (to - streams_.data()));
}

}  // namespace culvert::h2
