// What a CONNECT says, typed: the request and the response of a tunnel, and the rules by which a header block becomes
// one (RFC 9113 sections 8.2, 8.3, 8.5; wire facts H-20 to H-26).
//
// Values are raw strings as they came: the meaning of an authority, of baggage or of forwarded is the domain's. Absent and
// empty are the same. Limits: the whole list is bounded by Settings::header_list_max before a field gets here.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::h2 {

struct ConnectRequest {
    // "CONNECT" unless the peer wants something else from us, which the caller answers with 400 (H-26).
    std::string method = "CONNECT";
    std::string authority;            // "ip:port", "[v6]:port" or "hostname:port" (H-21); empty only if method is another
    std::string baggage;              // repeated headers are joined with ',' (H-24)
    std::string forwarded;            // the first one, as the reference reads it (H-23)
    std::string traceparent;          // the first one
    std::string x_forwarded_network;  // the first one; the inner CONNECT of a double tunnel only

    bool is_connect() const { return method == "CONNECT"; }
    bool operator==(const ConnectRequest&) const = default;
};

struct ConnectResponse {
    int status = 200;     // 200 opens the tunnel, everything else refuses it (H-26)
    std::string baggage;  // on a 200 only (H-25)

    bool opens() const { return status == 200; }
    bool operator==(const ConnectResponse&) const = default;
};

}  // namespace culvert::h2
