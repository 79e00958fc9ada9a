// Parsers of HTTP/1.1, sans I/O: bytes in, whole messages out (RFC 9112). One belongs to one connection and lives on its loop.
//
// Strict where leniency is known to be an attack: bare CR, obsolete line folding, space before the colon, two different
// lengths, both length and transfer coding. A request body needs Content-Length: chunked requests are refused with 501.
//
// Limits: head_max, fields_max, and the body limits of message.h. Errors: Reason::bad_request; for a request, detail is the
// status to answer before the connection is closed: 400, 413, 431, 501 or 505.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/result.h"
#include "lib/h1/message.h"

#include <cstdint>
#include <optional>

namespace culvert::h1 {

// Gathers a head until its empty line, bounded; splits it into lines. Shared by both parsers.
class HeadReader {
public:
    // Takes bytes from `input`; true once the head is complete. False with input empty: more is needed.
    Result<bool> take(ConstBytes& input);
    std::string_view text() const { return text_; }  // without the final empty line
    void clear() { text_.clear(); }
    bool empty() const { return text_.empty(); }

private:
    std::string text_;
};

class RequestParser {
public:
    // Takes bytes from the front of `input` until one request is complete. Pipelined requests come one call at a time.
    // A failure is final: answer its status, then close.
    Result<std::optional<Request>> next(ConstBytes& input);
    bool idle() const { return head_.empty() && !request_; }  // between two requests: closing now loses nothing

private:
    HeadReader head_;
    std::optional<Request> request_;  // its head is complete, its body not yet
    std::size_t body_left_ = 0;
};

class ResponseParser {
public:
    explicit ResponseParser(std::size_t body_max = response_body_max) : body_max_(body_max) {}
    // As above. Understands Content-Length, chunked, and a body that ends with the connection; 1xx are skipped.
    Result<std::optional<Response>> next(ConstBytes& input);
    // The connection ended: completes a body that had no length, refuses with Reason::truncated otherwise.
    Result<Response> end();

private:
    enum class Body : std::uint8_t { none, length, chunked, until_close };
    Result<bool> take_chunks(ConstBytes& input);

    std::size_t body_max_;
    HeadReader head_;
    std::optional<Response> response_;
    Body body_ = Body::none;
    std::size_t left_ = 0;           // of the body, or of the current chunk with its line end
    std::string line_;               // a chunk size or trailer line, until complete
    bool in_chunk_ = false;
    bool last_chunk_ = false;
    std::size_t trailer_size_ = 0;
};

}  // namespace culvert::h1
