#include "test/support/h2_wire.h"

#include "lib/base/check.h"

#include <algorithm>

namespace culvert::test {
namespace {

using h2::Event;
using h2::FrameType;
using h2::Role;

Buffer settings_of_peer(Role role) {
    Buffer bytes;
    if (role == Role::server) append(bytes, as_bytes(h2::preface));
    append(bytes, h2_frame(FrameType::settings, 0, 0));
    return bytes;
}

const Buffer& settings_acknowledged() {
    static const Buffer bytes = h2_frame(FrameType::settings, h2::flag_ack, 0);
    return bytes;
}

const Buffer& ok_response() {
    static const Buffer bytes =
        h2_frame(FrameType::headers, h2::flag_end_headers, 1, ConstBytes{{std::byte{0x88}}});
    return bytes;
}

std::string kind_of(Event::Kind kind) {
    switch (kind) {
    case Event::Kind::settings: return "settings";
    case Event::Kind::request: return "request";
    case Event::Kind::response: return "response";
    case Event::Kind::data: return "data";
    case Event::Kind::ended: return "ended";
    case Event::Kind::reset: return "reset";
    case Event::Kind::window: return "window";
    case Event::Kind::goaway: return "goaway";
    case Event::Kind::pong: return "pong";
    case Event::Kind::refused: return "refused";
    }
    return "?";
}

void note(std::vector<std::string>& events, const Event& event) {
    std::string data_before = "data " + std::to_string(event.stream) + " ";
    bool continues =
        event.kind == Event::Kind::data && !events.empty() && events.back().starts_with(data_before);
    if (continues)
        events.back() += as_text(event.bytes);
    else
        events.push_back(h2_text(event));
}

}  // namespace

Buffer h2_frame(FrameType type, std::uint8_t flags, h2::StreamId stream, ConstBytes payload) {
    Buffer bytes;
    h2::append_frame(bytes, {.type = type, .flags = flags, .stream = stream}, payload);
    return bytes;
}

Buffer h2_connect(h2::StreamId stream, std::string_view authority) {
    h2::ConnectRequest request;
    request.authority = authority;
    auto block = h2::encode(request, 1 << 20);
    check(block.has_value());
    return h2_frame(FrameType::headers, h2::flag_end_headers, stream, *block);
}

Buffer h2_number(FrameType type, h2::StreamId stream, std::uint32_t value) {
    std::array<std::byte, 4> payload;
    put_big_endian(payload.data(), value, 4);
    return h2_frame(type, 0, stream, payload);
}

Buffer h2_prologue(Role role, std::string_view given) {
    Buffer bytes;
    if (given == "nothing") return bytes;
    append(bytes, settings_of_peer(role));
    if (given == "unacked") return bytes;
    append(bytes, settings_acknowledged());
    if (role == Role::server && given != "ready") append(bytes, h2_connect(1));
    if (role == Role::client && (given == "tunnel" || given == "closed")) append(bytes, ok_response());
    return bytes;
}

h2::Engine h2_engine(Role role, std::string_view given) {
    h2::Engine engine(role, role == Role::client ? h2::client_settings() : h2::server_settings());
    if (given == "nothing") return engine;
    bool tunnel = given == "tunnel" || given == "closed" || given == "draining";
    check(tunnel || given == "ready" || given == "unacked" || given == "request" || given == "two");
    Buffer bytes = h2_prologue(role, given);
    if (role == Role::client) {
        Buffer first = h2_prologue(role, "ready");
        check(h2_feed(engine, first).error.empty());
        h2::ConnectRequest request;
        request.authority = "a:80";
        if (given != "ready") check(engine.connect(request).has_value());
        if (given == "two") check(engine.connect(request).has_value());
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(first.size()));
    }
    check(h2_feed(engine, bytes).error.empty());
    if (role == Role::server && tunnel) engine.respond(1, {});
    if (given == "closed") engine.reset(1, h2::Code::cancel);
    if (given == "draining") engine.drain();
    engine.output_taken();
    return engine;
}

std::string h2_text(const Event& event) {
    std::string text = kind_of(event.kind);
    bool has_stream = event.kind != Event::Kind::settings && event.kind != Event::Kind::goaway;
    if (event.kind == Event::Kind::pong) return text + " " + std::to_string(event.value);
    if (has_stream) text += " " + std::to_string(event.stream);
    if (event.request) text += " " + event.request->method + " " + event.request->authority;
    if (event.response) text += " " + std::to_string(event.response->status);
    if (event.kind == Event::Kind::data) text += " " + std::string(as_text(event.bytes));
    bool has_code = event.kind == Event::Kind::reset || event.kind == Event::Kind::goaway;
    if (has_code || event.kind == Event::Kind::refused) text += " " + std::string(h2::word(event.code));
    if (event.kind == Event::Kind::goaway) text += " " + std::to_string(event.last);
    if (event.end && event.kind != Event::Kind::ended) text += " end";
    if (event.retry) text += " retry";
    return text;
}

H2Fed h2_feed(h2::Engine& engine, ConstBytes bytes, std::size_t step) {
    H2Fed fed;
    if (step == 0) step = std::max<std::size_t>(bytes.size(), 1);
    do {
        ConstBytes piece = bytes.first(std::min(step, bytes.size()));
        bytes = bytes.subspan(piece.size());
        for (;;) {
            auto event = engine.next(piece);
            if (!event) {
                fed.error = h2::word(static_cast<h2::Code>(event.error().detail));
                fed.left = piece.size() + bytes.size();
                return fed;
            }
            if (!*event) break;
            note(fed.events, **event);
            if ((*event)->kind == Event::Kind::data)
                engine.consumed((*event)->stream, (*event)->bytes.size());
        }
        check(piece.empty());
    } while (!bytes.empty());
    return fed;
}

h2::Engine h2_reborn(const h2::Engine& engine) {
    Buffer state;
    Encoder to(state);
    engine.save(to);
    Decoder from{ConstBytes(state)};
    auto copy = h2::Engine::load(from);
    check(copy.has_value());
    check(from.ok() && from.at_end());
    Buffer again;
    Encoder second(again);
    copy->save(second);
    check(again == state);
    return std::move(*copy);
}

}  // namespace culvert::test
