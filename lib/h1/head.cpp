#include "lib/h1/head.h"

#include "lib/h1/parser.h"

#include <algorithm>
#include <charconv>

namespace culvert::h1 {
namespace {

bool is_token_char(char c) {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || others.find(c) != std::string_view::npos;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string_view trim(std::string_view text) {
    auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::size_t> parse_length(std::string_view text) {
    std::size_t length = 0;
    auto end = text.data() + text.size();
    bool digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
    auto [at, error] = std::from_chars(text.data(), end, length);
    if (!digits || error != std::errc() || at != end) return std::nullopt;
    return length;
}

}  // namespace

Result<bool> HeadReader::take(ConstBytes& input) {
    while (!input.empty()) {
        auto c = static_cast<char>(input[0]);
        input = input.subspan(1);
        bool after_cr = !text_.empty() && text_.back() == '\r';
        // A line ends in CR LF and nothing else; a reader that forgives can be made to disagree with another.
        if (c == '\0' || (c == '\n') != after_cr) return refuse(Reason::bad_request, bad_request);
        if (text_.size() == head_max) return refuse(Reason::bad_request, head_too_large);
        text_ += c;
        if (text_ == "\r\n") text_.clear();  // an empty line before the start line (RFC 9112 2.2)
        if (text_.ends_with("\r\n\r\n")) {
            text_.resize(text_.size() - 2);
            return true;
        }
    }
    return false;
}

std::optional<std::string_view> Lines::next() {
    if (left_.empty()) return std::nullopt;
    auto end = left_.find("\r\n");
    std::string_view line = left_.substr(0, end);
    left_.remove_prefix(end == std::string_view::npos ? left_.size() : end + 2);
    return line;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_char); }

Result<std::vector<Field>> parse_fields(Lines& lines) {
    std::vector<Field> fields;
    while (auto line = lines.next()) {
        auto colon = line->find(':');
        // A name that is no token also covers obsolete folding and the blank before a colon (RFC 9112 5.1).
        if (colon == std::string_view::npos || !is_token(line->substr(0, colon))) {
            return refuse(Reason::bad_request, bad_request);
        }
        if (fields.size() == fields_max) return refuse(Reason::bad_request, head_too_large);
        Field& field = fields.emplace_back();
        for (char c : line->substr(0, colon)) field.name += lower(c);
        field.value = trim(line->substr(colon + 1));
    }
    return fields;
}

Result<Framing> framing_of(const std::vector<Field>& fields) {
    Framing framing;
    bool coded = false;
    for (const Field& field : fields) {
        if (field.name == "content-length") {
            auto length = parse_length(field.value);
            bool differs = framing.length && framing.length != length;
            if (!length || differs) return refuse(Reason::bad_request, bad_request);
            framing.length = length;
        }
        if (field.name == "transfer-encoding") {
            bool known = !coded && std::ranges::equal(field.value, std::string_view("chunked"), {}, lower);
            if (!known) return refuse(Reason::bad_request, not_implemented);
            coded = true;
        }
    }
    if (coded && framing.length) return refuse(Reason::bad_request, bad_request);
    framing.chunked = coded;
    return framing;
}

}  // namespace culvert::h1
