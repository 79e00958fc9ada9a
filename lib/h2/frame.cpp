#include "lib/h2/frame.h"

namespace culvert::h2 {

std::string_view word(Code code) {
    constexpr std::string_view words[] = {
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    };
    auto number = static_cast<std::uint32_t>(code);
    return number < std::size(words) ? words[number] : "UNKNOWN";
}

FrameHeader parse_frame_header(const FrameHeaderBytes& bytes) {
    FrameHeader header;
    header.size = static_cast<std::uint32_t>(get_big_endian(&bytes[0], 3));
    header.type = static_cast<FrameType>(bytes[3]);
    header.flags = std::to_integer<std::uint8_t>(bytes[4]);
    header.stream = static_cast<StreamId>(get_big_endian(&bytes[5], 4)) & stream_id_max;
    return header;
}

FrameHeaderBytes frame_header_bytes(const FrameHeader& header) {
    FrameHeaderBytes bytes;
    put_big_endian(&bytes[0], header.size, 3);
    bytes[3] = static_cast<std::byte>(header.type);
    bytes[4] = static_cast<std::byte>(header.flags);
    put_big_endian(&bytes[5], header.stream, 4);
    return bytes;
}

void append_frame(Buffer& to, const FrameHeader& header, ConstBytes payload) {
    FrameHeader whole = header;
    whole.size = static_cast<std::uint32_t>(payload.size());
    append(to, frame_header_bytes(whole));
    append(to, payload);
}

void append_setting(Buffer& to, Setting id, std::uint32_t value) {
    std::array<std::byte, setting_size> pair;
    put_big_endian(&pair[0], static_cast<std::uint16_t>(id), 2);
    put_big_endian(&pair[2], value, 4);
    append(to, pair);
}

}  // namespace culvert::h2
