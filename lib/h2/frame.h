// The frame layer of HTTP/2 (RFC 9113 section 4): the nine bytes before every frame, the names of types,
// flags, settings and error codes. Pure arithmetic on values: no state, no limits, no errors; what a frame
// may say is for the engine.
#pragma once
#include "lib/base/bytes.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace culvert::h2 {

using StreamId = std::uint32_t;

enum class Role : std::uint8_t { client, server };

// RFC 9113 section 7. A peer may send numbers that have no name; they are kept as they came.
enum class Code : std::uint32_t {
    no_error = 0,
    protocol_error = 1,
    internal_error = 2,
    flow_control_error = 3,
    settings_timeout = 4,
    stream_closed = 5,
    frame_size_error = 6,
    refused_stream = 7,
    cancel = 8,
    compression_error = 9,
    connect_error = 10,
    enhance_your_calm = 11,
    inadequate_security = 12,
    http_1_1_required = 13,
};
std::string_view word(Code code);  // "FLOW_CONTROL_ERROR"; "UNKNOWN" for numbers without a name

enum class FrameType : std::uint8_t {
    data = 0,
    headers = 1,
    priority = 2,
    rst_stream = 3,
    settings = 4,
    push_promise = 5,
    ping = 6,
    goaway = 7,
    window_update = 8,
    continuation = 9,
};

constexpr std::uint8_t flag_ack = 0x1;
constexpr std::uint8_t flag_end_stream = 0x1;
constexpr std::uint8_t flag_end_headers = 0x4;
constexpr std::uint8_t flag_padded = 0x8;
constexpr std::uint8_t flag_priority = 0x20;

enum class Setting : std::uint16_t {
    header_table_size = 1,
    enable_push = 2,
    max_concurrent_streams = 3,
    initial_window_size = 4,
    max_frame_size = 5,
    max_header_list_size = 6,
};

constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t frame_header_size = 9;
constexpr std::size_t setting_size = 6;
constexpr std::uint32_t window_default = 65'535;  // RFC 9113 6.9.2: in force until SETTINGS say otherwise
constexpr std::int64_t window_max = 0x7fffffff;
constexpr std::uint32_t frame_max_default = 16'384;  // no peer may allow less
constexpr std::uint32_t frame_max_limit = 16'777'215;
constexpr StreamId stream_id_max = 0x7fffffff;

using FrameHeaderBytes = std::array<std::byte, frame_header_size>;

struct FrameHeader {
    std::uint32_t size = 0;  // of the payload; 24 bits
    FrameType type{};
    std::uint8_t flags = 0;
    StreamId stream = 0;  // the reserved bit is dropped

    bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
    bool operator==(const FrameHeader&) const = default;
};

FrameHeader parse_frame_header(const FrameHeaderBytes& bytes);
FrameHeaderBytes frame_header_bytes(const FrameHeader& header);

// Appends a whole frame; its size is that of `payload`, which is shorter than 2^24.
void append_frame(Buffer& to, const FrameHeader& header, ConstBytes payload);
void append_setting(Buffer& to, Setting id, std::uint32_t value);

}  // namespace culvert::h2
