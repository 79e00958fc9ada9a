// The head of an HTTP/1.1 message: fields, and what they say about the body (RFC 9112 sections 5 and 6).
// Pure functions over a complete head; private to lib/h1.
#pragma once
#include "lib/base/result.h"
#include "lib/h1/message.h"

#include <optional>

namespace culvert::h1 {

constexpr int bad_request = 400;
constexpr int body_too_large = 413;
constexpr int head_too_large = 431;
constexpr int not_implemented = 501;
constexpr int version_not_supported = 505;

// The lines of a head, first to last.
class Lines {
public:
    explicit Lines(std::string_view head) : left_(head) {}
    std::optional<std::string_view> next();

private:
    std::string_view left_;
};

Result<std::vector<Field>> parse_fields(Lines& lines);
bool is_token(std::string_view text);

struct Framing {
    bool chunked = false;
    std::optional<std::size_t> length;
};
// Refuses what two readers could understand differently: request smuggling lives there.
Result<Framing> framing_of(const std::vector<Field>& fields);

}  // namespace culvert::h1
