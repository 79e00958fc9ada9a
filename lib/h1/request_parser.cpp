#include "lib/h1/head.h"
#include "lib/h1/parser.h"

#include <algorithm>

namespace culvert::h1 {
namespace {

struct Target {
    std::string path;
    std::string query;
};

// Origin form, or the absolute form that proxies use (RFC 9112 3.2). CONNECT and "*" have no business here.
Result<Target> parse_target(std::string_view text) {
    auto scheme = text.find("://");
    if (!text.starts_with('/') && scheme != std::string_view::npos) {
        auto slash = text.find('/', scheme + 3);
        text = slash == std::string_view::npos ? std::string_view("/") : text.substr(slash);
    }
    if (!text.starts_with('/') || text.find('#') != std::string_view::npos) {
        return refuse(Reason::bad_request, bad_request);
    }
    auto mark = text.find('?');
    auto path = percent_decode(text.substr(0, mark), false);
    if (!path) return refuse(Reason::bad_request, bad_request);
    Target target{.path = std::move(*path), .query = {}};
    if (mark != std::string_view::npos) target.query = text.substr(mark + 1);
    return target;
}

Result<Request> parse_start(std::string_view line) {
    auto first = line.find(' ');
    auto last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return refuse(Reason::bad_request, bad_request);
    std::string_view method = line.substr(0, first);
    std::string_view target = line.substr(first + 1, last - first - 1);
    std::string_view version = line.substr(last + 1);
    bool one_point = version.starts_with("HTTP/1.") && version.size() == 8;
    bool known = one_point && (version.back() == '0' || version.back() == '1');
    if (!known) {
        return refuse(Reason::bad_request,
                      version.starts_with("HTTP/") ? version_not_supported : bad_request);
    }
    bool printable = std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7f; });
    if (!is_token(method) || !printable) return refuse(Reason::bad_request, bad_request);
    TRY(Target parsed, parse_target(target));
    Request request;
    request.method = method;
    request.path = std::move(parsed.path);
    request.query = std::move(parsed.query);
    request.keep_alive = version.back() == '1';
    return request;
}

struct Head {
    Request request;
    std::size_t body_size = 0;
};

Result<Head> parse_head(std::string_view text) {
    Lines lines(text);
    TRY(Request request, parse_start(lines.next().value_or("")));
    bool new_version = request.keep_alive;
    TRY(request.fields, parse_fields(lines));
    auto hosts = std::ranges::count(request.fields, "host", &Field::name);
    bool host_known = hosts == 1 || (hosts == 0 && !new_version);  // RFC 9112 3.2
    if (!host_known) return refuse(Reason::bad_request, bad_request);
    TRY(Framing framing, framing_of(request.fields));
    if (framing.chunked) return refuse(Reason::bad_request, not_implemented);
    std::size_t size = framing.length.value_or(0);
    if (size > request_body_max) return refuse(Reason::bad_request, body_too_large);
    if (list_has(request.fields, "connection", "close")) request.keep_alive = false;
    if (!new_version && list_has(request.fields, "connection", "keep-alive")) request.keep_alive = true;
    return Head{std::move(request), size};
}

}  // namespace

Result<std::optional<Request>> RequestParser::next(ConstBytes& input) {
    if (!request_) {
        TRY(bool complete, head_.take(input));
        if (!complete) return std::nullopt;
        TRY(Head head, parse_head(head_.text()));
        head_.clear();
        request_ = std::move(head.request);
        body_left_ = head.body_size;
    }
    std::size_t size = std::min(body_left_, input.size());
    request_->body += as_text(input.first(size));
    input = input.subspan(size);
    body_left_ -= size;
    if (body_left_ > 0) return std::nullopt;
    return std::exchange(request_, std::nullopt);
}

}  // namespace culvert::h1
