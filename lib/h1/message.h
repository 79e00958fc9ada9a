// HTTP/1.1 for control ports (admin, metrics, readiness): what a request and a response are. Values, shared
// by parsers and writers of both sides. Waypoints will speak general HTTP; this is deliberately less (RFC
// 9112, wire facts, M-1).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::h1 {

constexpr std::size_t head_max = 8u << 10;  // start line and headers together (wire.md 8.2)
constexpr std::size_t fields_max = 100;
constexpr std::size_t request_body_max = 64u << 10;
constexpr std::size_t response_body_max =
    256u << 20;  // a configuration dump of a large cluster, read by the command line

struct Field {
    std::string name;  // lower case
    std::string value;
    bool operator==(const Field&) const = default;
};

// The first value of that (lower case) name; empty if there is none.
std::string_view find_field(const std::vector<Field>& fields, std::string_view name);
// Whether a comma-separated list field has that element, case-insensitively: "close" in Connection. Repeated
// fields count.
bool list_has(const std::vector<Field>& fields, std::string_view name, std::string_view element);

struct Request {
    std::string method = "GET";  // as sent; methods are case-sensitive
    std::string path = "/";      // percent-decoding is done; never empty
    std::string query{};         // what follows '?', raw: see parse_query
    std::vector<Field> fields{};
    std::string body{};
    bool keep_alive = true;

    std::string_view field(std::string_view name) const { return find_field(fields, name); }
    // Accept lists that media type (parameters ignored), or a wildcard for it only if `wildcards`.
    bool accepts(std::string_view media_type, bool wildcards = true) const;
    bool operator==(const Request&) const = default;
};

struct Response {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body{};
    std::vector<Field> fields{};  // others; Content-Length, Content-Type and Connection are the writer's

    std::string_view field(std::string_view name) const { return find_field(fields, name); }
    bool operator==(const Response&) const = default;
};

// "?level=info&reset" as pairs, percent-decoded, '+' is a space. A key without '=' has an empty value.
std::vector<Field> parse_query(std::string_view query);
// Empty when broken, or when it hides a NUL.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

}  // namespace culvert::h1
