// One engine against arbitrary bytes. The first byte of an input says in which state the engine is and what
// its caller does, the second in which pieces the rest comes. It runs twice, at once and in pieces with a
// hand-over between any two, and both runs must tell the same.
#pragma once
#include "lib/base/check.h"
#include "test/support/h2_wire.h"

#include <array>

namespace culvert::test {

constexpr std::array<std::string_view, 4> h2_fuzz_given = {"ready", "tunnel", "unacked", "request"};
constexpr std::array<std::string_view, 4> h2_fuzz_given_client = {"ready", "tunnel", "request", "two"};
constexpr std::uint8_t h2_fuzz_refuse = 0x04;  // server: requests are refused instead of served
constexpr std::uint8_t h2_fuzz_hold = 0x08;    // apps do not read
constexpr std::uint8_t h2_fuzz_reset = 0x10;   // every data event is answered with a reset
constexpr std::uint8_t h2_fuzz_fresh = 0x20;   // nothing has come yet, not even the preface

struct H2FuzzRun {
    std::vector<std::string> events;
    std::string error;
    Buffer output;
};

inline h2::Engine h2_fuzz_engine(h2::Role role, std::uint8_t options) {
    if (options & h2_fuzz_fresh) return h2_engine(role, "nothing");
    const auto& given = role == h2::Role::client ? h2_fuzz_given_client : h2_fuzz_given;
    return h2_engine(role, given[options % given.size()]);
}

inline void h2_fuzz_answer(h2::Engine& engine, const h2::Event& event, std::uint8_t options, H2FuzzRun& run) {
    bool data = event.kind == h2::Event::Kind::data;
    bool continues = data && !run.events.empty() &&
                     run.events.back().starts_with("data " + std::to_string(event.stream) + " ");
    if (continues)
        run.events.back() += as_text(event.bytes);
    else
        run.events.push_back(h2_text(event));
    if (event.kind == h2::Event::Kind::request) {
        engine.respond(event.stream, {.status = options & h2_fuzz_refuse ? 503 : 200});
    }
    if (event.kind == h2::Event::Kind::ended) engine.frame_data(event.stream, 0, true);
    if (!data) return;
    check(engine.find(event.stream) != nullptr && engine.find(event.stream)->held >= event.bytes.size());
    if (!(options & h2_fuzz_hold)) engine.consumed(event.stream, event.bytes.size());
    if (options & h2_fuzz_reset) engine.reset(event.stream, h2::Code::connect_error);
}

inline H2FuzzRun h2_fuzz_run(h2::Role role, std::uint8_t options, ConstBytes bytes, std::size_t step,
                             bool hand_over) {
    h2::Engine engine = h2_fuzz_engine(role, options);
    H2FuzzRun run;
    while (!bytes.empty() && run.error.empty()) {
        ConstBytes piece = bytes.first(std::min(step, bytes.size()));
        bytes = bytes.subspan(piece.size());
        for (;;) {
            auto event = engine.next(piece);
            if (!event) run.error = h2::word(static_cast<h2::Code>(event.error().detail));
            if (!event || !*event) break;
            h2_fuzz_answer(engine, **event, options, run);
        }
        check(!run.error.empty() || piece.empty());
        check(engine.streams() <= h2::streams_limit);
        append(run.output, engine.output());
        engine.output_taken();
        if (hand_over) engine = h2_reborn(engine);
    }
    return run;
}

inline void h2_fuzz_single(h2::Role role, ConstBytes input) {
    if (input.size() < 2) return;
    auto options = std::to_integer<std::uint8_t>(input[0]);
    ConstBytes bytes = input.subspan(2);
    // At most 64 hand-overs an input: more would cost speed and find nothing new.
    std::size_t step = std::max(1 + std::to_integer<std::size_t>(input[1]) % 64, bytes.size() / 64);
    H2FuzzRun whole = h2_fuzz_run(role, options, bytes, bytes.size(), false);
    // A reset in answer to data comes after a different number of bytes when data comes in pieces.
    if (options & h2_fuzz_reset) return;
    H2FuzzRun pieces = h2_fuzz_run(role, options, bytes, step, true);
    check(whole.error == pieces.error);
    check(whole.events == pieces.events);
}

}  // namespace culvert::test
