// HTTP/2 for tests: engines in a known state, and events as text so that tables can name them.
#pragma once
#include "lib/h2/tunnel.h"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::test {

Buffer h2_frame(h2::FrameType type, std::uint8_t flags, h2::StreamId stream, ConstBytes payload = {});
Buffer h2_connect(h2::StreamId stream, std::string_view authority = "a:80");  // HEADERS of a whole CONNECT
Buffer h2_number(h2::FrameType type, h2::StreamId stream, std::uint32_t value);

// The engine after `given` of test/vectors/h2; its output is taken. Stops the program for unknown words.
h2::Engine h2_engine(h2::Role role, std::string_view given);
// The bytes that bring a peer of that role there: for fuzz seeds.
Buffer h2_prologue(h2::Role role, std::string_view given);

// "data 1 abc", "reset 1 CANCEL", "request 1 CONNECT a:80 end": what test/vectors/h2 says.
std::string h2_text(const h2::Event& event);

struct H2Fed {
    std::vector<std::string> events;  // neighbouring data of one stream is one event
    std::string error;                // "PROTOCOL_ERROR"; empty: still alive
    std::size_t left = 0;             // bytes not taken
};
// Feeds everything; `step` bytes at a time (0: at once). Data is consumed at once.
H2Fed h2_feed(h2::Engine& engine, ConstBytes bytes, std::size_t step = 0);

h2::Engine h2_reborn(const h2::Engine& engine);  // saved, loaded, and checked to save to the same bytes

}  // namespace culvert::test
