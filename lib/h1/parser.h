// Parsers of HTTP/1.1, sans I/O: bytes in, whole messages out (RFC 9112). One belongs to one connection and
// lives on its loop.
//
// Strict where leniency is known to be an attack: bare CR, obsolete line folding, space before the colon, two
// different lengths, both length and transfer coding. A request body needs Content-Length: chunked requests
// are refused with 501.
//
// Limits: head_max, fields_max, and the body limits of message.h. Errors: Reason::bad_request; for a request,
// detail is the status to answer before the connection is closed: 400, 413, 431, 501 or 505.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/h1/message.h"

#include <cstdint>
#include <optional>

namespace culvert::h1 {

// Gathers a head until its empty line, bounded. Shared by both parsers.
class HeadReader {
public:
    // Takes bytes from `input`; true once the head is complete. False with input empty: more is needed.
    // Refuses with 431 above head_max, with 400 what no head may contain.
    Result<bool> take(ConstBytes& input);
    std::string_view text() const { return text_; }  // lines end in CR LF; without the final empty line
    void clear() { text_.clear(); }
    bool empty() const { return text_.empty(); }

private:
    std::string text_;
};

class RequestParser {
public:
    // Takes bytes from the front of `input` until one request is complete. Pipelined requests come one call
    // at a time. A failure is final: answer its status, then close.
    Result<std::optional<Request>> next(ConstBytes& input);
    bool idle() const {
        return head_.empty() && !request_;
    }  // between two requests: closing now loses nothing

private:
    HeadReader head_;
    std::optional<Request> request_;  // its head is complete, its body not yet
    std::size_t body_left_ = 0;
};

// The chunked coding (RFC 9112 7.1), of responses only. Extensions and trailers are dropped, both bounded.
class ChunkReader {
public:
    // Takes bytes from `input` and appends payload to `to`, at most `most` in all; true once the last chunk
    // came.
    Result<bool> take(ConstBytes& input, std::string& to, std::size_t most);

private:
    enum class At : std::uint8_t { size, payload, payload_end, trailer };
    Result<bool> line_complete(std::size_t room);

    At at_ = At::size;
    std::string line_;
    std::size_t left_ = 0;
    std::size_t trailers_ = 0;
};

class ResponseParser {
public:
    explicit ResponseParser(std::size_t body_max = response_body_max) : body_max_(body_max) {}
    // As above. Understands Content-Length, chunked, and a body that ends with the connection; 1xx are
    // skipped.
    Result<std::optional<Response>> next(ConstBytes& input);
    // The connection ended: completes a body that had no length, refuses with Reason::truncated otherwise.
    Result<Response> end();

private:
    enum class Body : std::uint8_t { length, chunked, until_close };
    Result<bool> head_complete();
    Result<bool> take_body(ConstBytes& input);

    std::size_t body_max_;
    HeadReader head_;
    std::optional<Response> response_;  // its head is complete, its body not yet
    Body body_ = Body::length;
    std::size_t left_ = 0;
    ChunkReader chunks_;
};

}  // namespace culvert::h1
