// Writers of HTTP/1.1: a message becomes bytes (RFC 9112). Pure functions; field values that could split a
// message (CR, LF, NUL) are left out, so no caller can be made to write two responses.
#pragma once
#include "lib/base/bytes.h"
#include "lib/h1/message.h"

namespace culvert::h1 {

struct ResponseOptions {
    bool keep_alive = false;
    bool head_only = false;  // the request was HEAD: Content-Length as for GET, no body
};
// Content-Length is always written.
Buffer response_bytes(const Response& response, const ResponseOptions& options);

struct RequestOptions {
    std::string_view host = "localhost";
    bool keep_alive = false;
};
Buffer request_bytes(const Request& request, const RequestOptions& options);

std::string_view status_text(int status);  // "Not Found"

}  // namespace culvert::h1
