// What a control port understands, what it refuses and with which status, and what it answers.
#include "lib/h1/parser.h"
#include "lib/h1/writer.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::h1;

namespace {

struct Parsed {
    std::vector<Request> requests;
    int status = 0;  // of the refusal; 0: none
};

Parsed parse(std::string_view text, std::size_t step) {
    RequestParser parser;
    Parsed parsed;
    for (ConstBytes bytes = as_bytes(text); !bytes.empty();) {
        ConstBytes piece = bytes.first(std::min(step, bytes.size()));
        bytes = bytes.subspan(piece.size());
        for (;;) {
            auto request = parser.next(piece);
            if (!request) {
                parsed.status = request.error().detail;
                return parsed;
            }
            if (!*request) break;
            parsed.requests.push_back(**request);
        }
        REQUIRE(piece.empty());
    }
    return parsed;
}

Request one(std::string_view text) {
    Parsed whole = parse(text, text.size());
    REQUIRE(whole.status == 0);
    REQUIRE(whole.requests.size() == 1);
    Parsed pieces = parse(text, 1);
    REQUIRE(pieces.requests == whole.requests);
    return whole.requests[0];
}

int refusal(std::string_view text) {
    int status = parse(text, text.size()).status;
    CHECK(parse(text, 1).status == status);
    return status;
}

std::string_view with_host = "GET / HTTP/1.1\r\nHost: a\r\n";

}  // namespace

TEST_CASE("a request is method, path, query and fields [A-1] [A-3]") {
    Request request = one("POST /logging?level=info&reset HTTP/1.1\r\nHost: localhost\r\nX-Y:  a b \r\n\r\n");
    CHECK(request.method == "POST");
    CHECK(request.path == "/logging");
    CHECK(request.query == "level=info&reset");
    CHECK(request.field("x-y") == "a b");
    CHECK(request.keep_alive);
    CHECK(request.body.empty());
}

TEST_CASE("a body has the length that was announced, and what follows is the next request") {
    std::string_view text =
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    for (std::size_t step : {std::size_t{1}, std::size_t{7}, text.size()}) {
        Parsed parsed = parse(text, step);
        REQUIRE(parsed.requests.size() == 2);
        CHECK(parsed.requests[0].body == "abc");
        CHECK(parsed.requests[1].path == "/b");
    }
}

TEST_CASE("a connection is kept by HTTP/1.1 and not by HTTP/1.0, unless they say otherwise") {
    CHECK(one("GET / HTTP/1.1\r\nHost: a\r\n\r\n").keep_alive);
    CHECK_FALSE(one("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").keep_alive);
    CHECK_FALSE(one("GET / HTTP/1.0\r\n\r\n").keep_alive);
    CHECK(one("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
}

TEST_CASE("paths are decoded; the absolute form that proxies send is understood") {
    CHECK(one("GET /a%20b%2f HTTP/1.1\r\nHost: a\r\n\r\n").path == "/a b/");
    CHECK(one("GET http://a:15000/stats?x HTTP/1.1\r\nHost: a\r\n\r\n").path == "/stats");
    CHECK(one("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").path == "/");
    CHECK(one("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").path == "/");
}

TEST_CASE("what is no HTTP/1.1 request is answered with the right status") {
    const std::pair<std::string, int> table[] = {
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\n", 505},
        {"GET / FTP/1.1\r\n\r\n", 400},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},                        // no Host
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},  // two
        {"GET / HTTP/1.1\nHost: a\n\n", 400},                   // bare LF
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400},          // bare CR
        {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},  // obsolete folding
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},            // blank before the colon
        {"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},      // no name
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
    };
    for (const auto& [text, status] : table) {
        INFO(text);
        CHECK(refusal(text) == status);
    }
}

TEST_CASE("a head is bounded in bytes and in fields") {
    CHECK(refusal(std::string(with_host) + "x: " + std::string(head_max, 'y')) == 431);
    std::string many(with_host);
    for (std::size_t i = 0; i < fields_max; ++i) many += "x: y\r\n";
    CHECK(refusal(many + "\r\n") == 431);
    std::string exact(with_host);
    exact += "x: ";
    exact += std::string(head_max - exact.size() - 4, 'y') + "\r\n\r\n";
    CHECK(exact.size() == head_max);
    CHECK(refusal(exact) == 0);
}

TEST_CASE("a parser is idle only between two requests") {
    RequestParser parser;
    CHECK(parser.idle());
    ConstBytes half = as_bytes("GET / HT");
    CHECK(parser.next(half).has_value());
    CHECK_FALSE(parser.idle());
    ConstBytes rest = as_bytes("TP/1.1\r\nHost: a\r\n\r\n");
    CHECK(parser.next(rest).value().has_value());
    CHECK(parser.idle());
}

TEST_CASE("a media type is accepted when it is listed, by its parameters too, and not with q=0 [M-1]") {
    auto accepts = [](std::string accept, bool wildcards = true) {
        Request request;
        request.fields = {{"accept", std::move(accept)}};
        return request.accepts("application/openmetrics-text", wildcards);
    };
    CHECK(accepts("application/openmetrics-text"));
    CHECK(accepts("text/plain, Application/OpenMetrics-Text;version=1.0.0;q=0.5"));
    CHECK(accepts("*/*"));
    CHECK(accepts("application/*"));
    CHECK_FALSE(accepts("*/*", false));
    CHECK_FALSE(accepts("text/plain"));
    CHECK_FALSE(accepts("application/openmetrics-text;q=0"));
    CHECK_FALSE(accepts("application/openmetrics-text;q=0.0"));
    CHECK_FALSE(accepts(""));
}

TEST_CASE("a query is pairs, decoded [A-3]") {
    using Pairs = std::vector<Field>;
    CHECK(parse_query("level=info&reset") == Pairs{{"level", "info"}, {"reset", ""}});
    CHECK(parse_query("level=a=debug%2Cb%3Dinfo&x=1+2") == Pairs{{"level", "a=debug,b=info"}, {"x", "1 2"}});
    CHECK(parse_query("a=%zz&&=b&c") == Pairs{{"c", ""}});
    CHECK(parse_query("").empty());
}
