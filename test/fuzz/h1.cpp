// Both parsers of HTTP/1.1 take any bytes, within their limits, and say the same however they are cut. The
// first byte of an input says which one and in which pieces. What a parser made of a request is written and
// must be read back the same.
#include "lib/base/check.h"
#include "lib/h1/parser.h"
#include "lib/h1/writer.h"

#include <algorithm>

using namespace culvert;
using namespace culvert::h1;

namespace {

template <class Parser, class Message> struct Run {
    std::vector<Message> messages;
    Error error;
    bool failed = false;
    bool operator==(const Run&) const = default;
};

template <class Parser, class Message>
Run<Parser, Message> run(Parser parser, ConstBytes bytes, std::size_t step) {
    Run<Parser, Message> result;
    while (!bytes.empty() && !result.failed) {
        ConstBytes piece = bytes.first(std::min(step, bytes.size()));
        bytes = bytes.subspan(piece.size());
        for (;;) {
            auto message = parser.next(piece);
            if (!message) {
                result.failed = true;
                result.error = message.error();
            }
            if (!message || !*message) break;
            result.messages.push_back(std::move(**message));
        }
        check(result.failed || piece.empty());
    }
    return result;
}

void check_request(const Request& request) {
    check(request.path.starts_with('/') && request.body.size() <= request_body_max);
    parse_query(request.query);
    request.accepts("text/plain");
    Buffer bytes = request_bytes(request, {});
    ConstBytes input = bytes;
    RequestParser parser;
    auto again = parser.next(input);
    if (bytes.size() > head_max) return;  // encoding a path may make it longer than a head may be
    check(again && *again && input.empty());
    check((*again)->method == request.method && (*again)->path == request.path);
    check((*again)->query == request.query && (*again)->body == request.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    ConstBytes bytes = std::as_bytes(std::span(data, size)).subspan(1);
    std::size_t step = 1 + (data[0] >> 1) % 32;
    if (data[0] & 1) {
        constexpr std::size_t body_max = 10'000;
        auto whole = run<ResponseParser, Response>(ResponseParser(body_max), bytes, bytes.size());
        check(whole == (run<ResponseParser, Response>(ResponseParser(body_max), bytes, step)));
        for (const Response& each : whole.messages) check(each.body.size() <= body_max);
    } else {
        auto whole = run<RequestParser, Request>(RequestParser(), bytes, bytes.size());
        check(whole == (run<RequestParser, Request>(RequestParser(), bytes, step)));
        for (const Request& each : whole.messages) check_request(each);
    }
    return 0;
}
