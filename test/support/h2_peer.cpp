#include "test/support/h2_peer.h"

#include "lib/base/check.h"

#include <algorithm>
#include <utility>

namespace culvert::test {

using h2::Event;

std::byte H2Peer::pattern(h2::StreamId stream, std::uint64_t at, bool ours) const {
    bool to_server = (engine.role() == h2::Role::client) == ours;
    return static_cast<std::byte>((at * 31 >> 3) + stream + (to_server ? 0 : 101));
}

h2::StreamId H2Peer::connect(std::string_view authority) {
    auto stream = engine.connect({.authority = std::string(authority)});
    if (!stream) return 0;
    tunnels[*stream] = {};
    flush();
    return *stream;
}

std::size_t H2Peer::send(h2::StreamId stream, std::size_t size, bool end, std::size_t frame) {
    flush();
    H2Tunnel& tunnel = tunnels[stream];
    std::size_t went = 0;
    do {
        std::size_t allowed = std::min({engine.send_allowance(stream), size - went, frame});
        bool last = end && went + allowed == size;
        if (allowed == 0 && !last) break;
        auto header = engine.frame_data(stream, allowed, last);
        if (!header) break;
        append(wire, *header);
        for (std::size_t i = 0; i < allowed; ++i) wire.push_back(pattern(stream, tunnel.sent++, true));
        went += allowed;
        tunnel.end_sent |= last;
    } while (went < size);
    return went;
}

void H2Peer::reset(h2::StreamId stream, h2::Code code) {
    engine.reset(stream, code);
    tunnels[stream].reset = true;
    flush();
}

void H2Peer::read(h2::StreamId stream, std::size_t size) {
    H2Tunnel& tunnel = tunnels[stream];
    std::size_t taken = std::min<std::size_t>(size, tunnel.unread);
    tunnel.unread -= taken;
    engine.consumed(stream, taken);
    flush();
}

void H2Peer::flush() {
    append(wire, engine.output());
    engine.output_taken();
}

void H2Peer::take(ConstBytes bytes) {
    while (error.empty()) {
        auto event = engine.next(bytes);
        if (!event) error = h2::word(static_cast<h2::Code>(event.error().detail));
        if (!event || !*event) break;
        on(**event);
    }
    check(!error.empty() || bytes.empty());
    flush();
}

void H2Peer::on(const Event& event) {
    bool quiet = event.kind == Event::Kind::settings || event.kind == Event::Kind::window;
    if (event.kind != Event::Kind::data && !quiet) log.push_back(h2_text(event));
    if (quiet || event.stream == 0) return;
    H2Tunnel& tunnel = tunnels[event.stream];
    switch (event.kind) {
    case Event::Kind::request:
        if (!accepts) break;
        engine.respond(event.stream, {.status = event.request->is_connect() ? 200 : 400});
        tunnel.opened = event.request->is_connect();
        break;
    case Event::Kind::response:
        tunnel.status = event.response->status;
        tunnel.opened = event.response->opens();
        break;
    case Event::Kind::data:
        intact &= !tunnel.ended && !tunnel.reset;  // nothing may come behind an end
        for (std::byte each : event.bytes) intact &= each == pattern(event.stream, tunnel.received++, false);
        tunnel.unread += event.bytes.size();
        if (reads) read(event.stream, event.bytes.size());
        break;
    case Event::Kind::ended:
        intact &= !tunnel.ended && !tunnel.reset;
        tunnel.ended = true;
        break;
    case Event::Kind::reset:
        tunnel.reset = true;
        tunnel.code = event.code;
        tunnel.retry = event.retry;
        break;
    default: break;
    }
}

void h2_settle(H2Peer& a, H2Peer& b) {
    a.flush();
    b.flush();
    while (!a.wire.empty() || !b.wire.empty()) {
        Buffer to_b = std::exchange(a.wire, {}), to_a = std::exchange(b.wire, {});
        b.take(to_b);
        a.take(to_a);
    }
}

}  // namespace culvert::test
