// Both writers, and what the command line reads from a control port.
#include "lib/h1/parser.h"
#include "lib/h1/writer.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::h1;

namespace {

// Feeds `text` step by step; the first response, or nothing, or the reason of the refusal.
Result<std::optional<Response>> parse(std::string_view text, std::size_t step, std::size_t body_max = 1000) {
    ResponseParser parser(body_max);
    for (ConstBytes bytes = as_bytes(text); !bytes.empty();) {
        ConstBytes piece = bytes.first(std::min(step, bytes.size()));
        bytes = bytes.subspan(piece.size());
        auto response = parser.next(piece);
        if (!response || *response) return response;
    }
    auto ended = parser.end();
    if (!ended) return std::unexpected(ended.error());
    return *ended;
}

std::string body_of(std::string_view text) {
    auto whole = parse(text, text.size());
    auto pieces = parse(text, 1);
    REQUIRE(whole.has_value());
    REQUIRE(whole->has_value());
    CHECK(pieces == whole);
    return (*whole)->body;
}

Reason refusal(std::string_view text, std::size_t body_max = 1000) {
    auto whole = parse(text, text.size(), body_max);
    auto pieces = parse(text, 1, body_max);
    REQUIRE_FALSE(whole.has_value());
    REQUIRE_FALSE(pieces.has_value());
    CHECK(pieces.error() == whole.error());
    return whole.error().reason;
}

std::string text_of(const Buffer& bytes) { return std::string(as_text(bytes)); }

}  // namespace

TEST_CASE("a response says its length, type, and whether the connection stays [A-6]") {
    CHECK(text_of(response_bytes({.body = "ready\n"}, {.keep_alive = true})) ==
          "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n"
          "Connection: keep-alive\r\n\r\nready\n");
    CHECK(text_of(response_bytes({.status = 404}, {})) ==
          "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\n"
          "Connection: close\r\n\r\n");
}

TEST_CASE("an answer to HEAD has the length and not the body") {
    std::string text = text_of(response_bytes({.body = "abc"}, {.head_only = true}));
    CHECK(text.find("Content-Length: 3\r\n") != std::string::npos);
    CHECK(text.ends_with("\r\n\r\n"));
}

TEST_CASE("no field can split a message or contradict its shape") {
    Response response;
    response.fields = {{"x", "a\r\nSet-Cookie: b"}, {"y z", "b"}, {"content-length", "7"}, {"allow", "POST"}};
    std::string text = text_of(response_bytes(response, {}));
    CHECK(text.find("Set-Cookie") == std::string::npos);
    CHECK(text.find("y z") == std::string::npos);
    CHECK(text.find("7") == std::string::npos);
    CHECK(text.find("allow: POST\r\n") != std::string::npos);
    Request request;
    request.path = "/a b\r\nX: y";
    request.query = "a b";
    text = text_of(request_bytes(request, {.host = "h"}));
    CHECK(text == "GET /a%20b%0D%0AX:%20y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
}

TEST_CASE("what one side writes the other side reads") {
    Request request;
    request.method = "POST";
    request.path = "/a b";
    request.query = "level=info";
    request.body = "body";
    request.fields = {{"accept", "application/json"}};
    Buffer bytes = request_bytes(request, {.host = "localhost", .keep_alive = true});
    ConstBytes input = bytes;
    RequestParser server;
    auto read = server.next(input);
    REQUIRE(read.has_value());
    REQUIRE(read->has_value());
    CHECK((*read)->method == request.method);
    CHECK((*read)->path == request.path);
    CHECK((*read)->query == request.query);
    CHECK((*read)->body == request.body);
    CHECK((*read)->accepts("application/json"));
    CHECK((*read)->keep_alive);

    Buffer answer = response_bytes({.status = 200, .content_type = "application/json", .body = "{}"}, {});
    auto response = parse(as_text(answer), 3);
    REQUIRE(response.has_value());
    CHECK((*response)->status == 200);
    CHECK((*response)->content_type == "application/json");
    CHECK((*response)->body == "{}");
}

TEST_CASE("a body has a length, or chunks, or ends with the connection") {
    CHECK(body_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc") == "abc");
    CHECK(body_of("HTTP/1.0 200\r\n\r\nabc") == "abc");
    CHECK(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n") == "abc0123456789");
    CHECK(body_of("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n").empty());
    CHECK(body_of("HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na") ==
          "a");
}

TEST_CASE("a response that was cut is never taken for a whole one") {
    CHECK(refusal("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc") == Reason::truncated);
    CHECK(refusal("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") == Reason::truncated);
    CHECK(refusal("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n") ==
          Reason::truncated);
    CHECK(refusal("HTTP/1.1 200 OK\r\n") == Reason::truncated);
}

TEST_CASE("what is no response is refused") {
    for (std::string_view text : {
             "SSH-2.0-x\r\n\r\n",
             "HTTP/1.1 20 OK\r\n\r\n",
             "HTTP/1.1 2000\r\n\r\n",
             "HTTP/1.1 abc OK\r\n\r\n",
             "HTTP/1.1 -10 OK\r\n\r\n",
             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
         }) {
        INFO(text);
        CHECK(refusal(text) == Reason::bad_request);
    }
}

TEST_CASE("a body is bounded, however it is framed") {
    std::string eleven(11, 'x');
    CHECK(refusal("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + eleven, 10) == Reason::limit);
    CHECK(refusal("HTTP/1.1 200 OK\r\n\r\n" + eleven, 10) == Reason::limit);
    std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    CHECK(refusal(chunked + "b\r\n" + eleven + "\r\n", 10) == Reason::limit);
    CHECK(refusal(chunked + "6\r\nabcdef\r\n6\r\nabcdef\r\n", 10) == Reason::limit);
    CHECK(refusal(chunked + "fffffffffffffff\r\n", 10) == Reason::limit);
    CHECK(refusal(chunked + "1;" + std::string(300, 'x'), 10) == Reason::limit);
    std::string trailers = chunked + "0\r\n";
    for (int i = 0; i < 1000; ++i) trailers += "trailer: 0123456789\r\n";
    CHECK(refusal(trailers, 10) == Reason::limit);
}
