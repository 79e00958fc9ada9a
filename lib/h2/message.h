// What a CONNECT says, typed: the request and the response of a tunnel, and the rules by which a header block
// becomes one (RFC 9113 sections 8.2, 8.3, 8.5; wire facts H-20 to H-26).
//
// Values are raw strings as they came: the meaning of an authority, of baggage or of forwarded is the
// domain's. Absent and empty are the same. Limits: a reader stops keeping what exceeds its list_max (RFC
// 9113 6.5.2 sizes).
#pragma once
#include "lib/base/result.h"
#include "lib/h2/hpack.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::h2 {

struct ConnectRequest {
    // "CONNECT" unless the peer wants something else from us, which the caller answers with 400 (H-26).
    std::string method = "CONNECT";
    // "ip:port", "[v6]:port" or "hostname:port" (H-21); empty only if the method is another one.
    std::string authority{};
    std::string baggage{};              // repeated headers are joined with ',' (H-24)
    std::string forwarded{};            // the first one, as the reference reads it (H-23)
    std::string traceparent{};          // the first one
    std::string x_forwarded_network{};  // the first one; the inner CONNECT of a double tunnel only

    bool is_connect() const { return method == "CONNECT"; }
    bool operator==(const ConnectRequest&) const = default;
};

struct ConnectResponse {
    int status = 200;       // 200 opens the tunnel, everything else refuses it (H-26)
    std::string baggage{};  // on a 200 only (H-25)

    bool opens() const { return status == 200; }
    bool operator==(const ConnectResponse&) const = default;
};

enum class Verdict : std::uint8_t { good, malformed, too_large };

// The rules that requests and responses share: lower-case names without surprises, values without CR, LF and
// NUL, pseudo- headers first, nothing that belongs to one hop of HTTP/1.1 (RFC 9113 8.2).
class FieldRules {
public:
    explicit FieldRules(std::size_t list_max) : list_max_(list_max) {}
    // Whether this field may be looked at; false once the list is malformed or too large.
    bool admit(const Field& field);
    Verdict verdict() const { return verdict_; }
    void malformed() { verdict_ = Verdict::malformed; }

private:
    std::size_t list_max_;
    std::size_t list_size_ = 0;
    bool regular_seen_ = false;
    Verdict verdict_ = Verdict::good;
};

// Each pseudo-header exactly once and no others (RFC 9113 8.3.1, 8.5). Feed every field of the block, then
// finish().
class RequestReader {
public:
    explicit RequestReader(std::size_t list_max) : rules_(list_max) { request_.method.clear(); }
    void take(const Field& field);
    Verdict finish();
    ConnectRequest& request() { return request_; }

private:
    void take_pseudo(const Field& field);

    FieldRules rules_;
    ConnectRequest request_;
    std::uint8_t seen_ = 0;
    bool path_empty_ = false;
};

// `:status` of three digits, exactly once, and no other pseudo-header (RFC 9113 8.3.2).
class ResponseReader {
public:
    explicit ResponseReader(std::size_t list_max) : rules_(list_max) { response_.status = 0; }
    void take(const Field& field);
    Verdict finish();
    ConnectResponse& response() { return response_; }

private:
    FieldRules rules_;
    ConnectResponse response_;
};

// The header block, lower-case names in H-22's order. Refuses with bad_input a value that no field may have,
// with limit a list larger than list_max.
Result<Buffer> encode(const ConnectRequest& request, std::size_t list_max);
Result<Buffer> encode(const ConnectResponse& response, std::size_t list_max);

bool is_field_value(std::string_view value);

}  // namespace culvert::h2
