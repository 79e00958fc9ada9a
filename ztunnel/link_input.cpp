// What a link hears: records, frames, and to whom they go.
#include "ztunnel/link.h"
#include "ztunnel/shard.h"
#include "ztunnel/tunnel.h"

#include <algorithm>
#include <limits>

namespace culvert::ztunnel {

io::Task<void> Link::receive() {
    Buffer early = std::exchange(early_, {});
    take(early);
    early = {};
    while (!ended() && !paused_) {
        std::size_t most = shard_.loop().driver().buffer_size();
        auto received = co_await socket_.recv(most);
        hear(std::move(received));
    }
}

void Link::hear(Result<io::Received> received) {
    if (!received) {
        if (paused_ && received.error().reason == Reason::cancelled) return;
        return end(received.error().reason == Reason::cancelled ? Reason::cancelled : Reason::reset);
    }
    // A TCP end without close_notify may be an attacker's: nothing that was open ended cleanly (S17).
    if (received->end()) return end(closing_ ? Reason::closed : Reason::truncated);
    if (!closing_) take(received->bytes());
}

// One receive, from records to apps. The shared buffer is done with when this returns.
void Link::take(Bytes input) {
    using Kind = tls::Opened::Kind;
    meter_.add(input.size());
    engine_.set_growth_max(shard_.holds_much() ? 0 : std::numeric_limits<std::uint32_t>::max());
    while (!ended()) {
        auto opened = inbox_.next(input);
        if (!opened) {
            if (!opened.error().by_peer) alert_ = opened.error().alert;
            end(opened.error().by_peer ? Reason::tls_alert : Reason::tls_record);
            break;
        }
        if (!*opened) break;
        if ((*opened)->key_update_asked) outbox_.key_update_asked();
        if ((*opened)->kind == Kind::closed) end(Reason::closed);
        if ((*opened)->kind == Kind::data) take_text((*opened)->plaintext);
    }
    shard_.delivery().flush();
    inbox_.forget();
    if (ended()) return;
    if (!engine_.output().empty()) want_flush();
    tick_if_wanted();
    close_if_drained();
}

void Link::take_text(ConstBytes text) {
    while (!ended()) {
        auto event = engine_.next(text);
        if (!event) return end(event.error().reason);
        if (!*event) return;
        on_event(**event);
    }
}

void Link::on_event(h2::Event& event) {
    using Kind = h2::Event::Kind;
    switch (event.kind) {
    case Kind::settings:
        changed_.set();
        wake_waiting();
        return;
    case Kind::window: wake_waiting(); return;
    case Kind::goaway:  // usable() and close_if_drained() see it
    case Kind::refused: return;
    case Kind::pong:
        if (event.value != pings_) return;
        pinging_ = false;
        ping_at_ = shard_.loop().now() + shard_.settings().ping_every;
        schedule();
        return;
    case Kind::request: on_request(event); return;
    case Kind::response:
    case Kind::data:
    case Kind::ended:
    case Kind::reset: on_stream_event(event); return;
    }
}

void Link::on_request(h2::Event& event) {
    requests_.push_back({event.stream, std::move(*event.request), {}, event.end});
    changed_.set();
}

void Link::on_stream_event(h2::Event& event) {
    using Kind = h2::Event::Kind;
    Tunnel* tunnel = find(event.stream);
    if (!tunnel) return keep_early(event);
    if (event.kind == Kind::data) return shard_.delivery().add(*tunnel, event.bytes);
    if (event.kind == Kind::response) {
        tunnel->on_response(*event.response);
        // A 200 with END_STREAM: no `ended` follows.
        if (event.end && event.response->opens()) tunnel->on_end();
        return;
    }
    shard_.delivery().flush(*tunnel);  // the end comes behind the bytes
    if (event.kind == Kind::ended) return tunnel->on_end();
    tunnel->retry_ = event.retry;
    tunnel->on_reset(Reason::reset);
}

// For a CONNECT that nobody has taken yet: the engine lets through `window_first` bytes of it at most.
void Link::keep_early(const h2::Event& event) {
    using Kind = h2::Event::Kind;
    auto at = std::ranges::find(requests_, event.stream, &Waiting::stream);
    if (at == requests_.end()) {
        if (event.kind == Kind::data) engine_.consumed(event.stream, event.bytes.size());
        return;
    }
    if (event.kind == Kind::data) append(at->early, event.bytes);
    if (event.kind == Kind::ended) at->end = true;
    if (event.kind == Kind::reset) forget_request(event.stream);
}

void Link::forget_request(h2::StreamId stream) {
    auto at = std::ranges::find(requests_, stream, &Waiting::stream);
    if (at == requests_.end()) return;
    if (static_cast<std::size_t>(at - requests_.begin()) < offered_) --offered_;
    requests_.erase(at);
}

Tunnel* Link::find(h2::StreamId stream) const {
    auto at = std::ranges::lower_bound(rows_, stream, {}, &Row::stream);
    return at != rows_.end() && at->stream == stream ? at->tunnel : nullptr;
}

}  // namespace culvert::ztunnel
