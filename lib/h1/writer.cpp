#include "lib/h1/writer.h"

#include "lib/h1/head.h"

#include <algorithm>

namespace culvert::h1 {
namespace {

bool is_value(std::string_view value) {
    return std::ranges::none_of(value, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

class Text {
public:
    void line(std::string_view a, std::string_view b = {}, std::string_view c = {}) {
        for (auto each : {a, b, c, std::string_view("\r\n")}) text_ += each;
    }
    void field(std::string_view name, std::string_view value) {
        if (!value.empty() && is_token(name) && is_value(value)) line(name, ": ", value);
    }
    // What we say ourselves about the message's shape is said once.
    void others(const std::vector<Field>& fields) {
        constexpr std::string_view ours[] = {"content-length", "content-type", "connection",
                                             "transfer-encoding", "host"};
        for (const Field& each : fields)
            if (std::ranges::find(ours, each.name) == std::end(ours)) field(each.name, each.value);
    }
    Buffer with_body(std::string_view body) {
        text_ += "\r\n";
        text_ += body;
        ConstBytes bytes = as_bytes(text_);
        return {bytes.begin(), bytes.end()};
    }

private:
    std::string text_;
};

// Every byte that could end a target or start another one is encoded.
std::string encode_path(std::string_view path) {
    constexpr std::string_view kept = "-._~!$&'()*+,;=:@/";
    constexpr char digits[] = "0123456789ABCDEF";
    std::string encoded;
    for (char c : path) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (letter || kept.find(c) != std::string_view::npos) {
            encoded += c;
            continue;
        }
        auto byte = static_cast<unsigned char>(c);
        encoded += '%';
        encoded += digits[byte / 16];
        encoded += digits[byte % 16];
    }
    return encoded.starts_with('/') ? encoded : "/" + encoded;
}

bool is_query(std::string_view query) {
    return std::ranges::all_of(query, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

}  // namespace

std::string_view status_text(int status) {
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

Buffer response_bytes(const Response& response, const ResponseOptions& options) {
    Text text;
    text.line("HTTP/1.1 ", std::to_string(response.status), " " + std::string(status_text(response.status)));
    bool bodiless = response.status == 204 || response.status == 304;
    if (!bodiless) text.field("Content-Type", response.content_type);
    if (!bodiless) text.field("Content-Length", std::to_string(response.body.size()));
    text.others(response.fields);
    text.field("Connection", options.keep_alive ? "keep-alive" : "close");
    return text.with_body(options.head_only || bodiless ? std::string_view() : response.body);
}

Buffer request_bytes(const Request& request, const RequestOptions& options) {
    Text text;
    std::string target = encode_path(request.path);
    if (!request.query.empty() && is_query(request.query)) target += "?" + request.query;
    std::string method = is_token(request.method) ? request.method : "GET";
    text.line(method, " ", target + " HTTP/1.1");
    text.field("Host", options.host);
    text.others(request.fields);
    if (!request.body.empty() || request.method == "POST") {
        text.field("Content-Length", std::to_string(request.body.size()));
    }
    text.field("Connection", options.keep_alive ? "keep-alive" : "close");
    return text.with_body(request.body);
}

}  // namespace culvert::h1
