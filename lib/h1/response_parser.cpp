#include "lib/h1/head.h"
#include "lib/h1/parser.h"

#include <algorithm>
#include <charconv>

namespace culvert::h1 {
namespace {

constexpr std::size_t chunk_line_max = 256;  // the size and its extensions
constexpr std::size_t trailers_max = head_max;

Result<int> parse_status(std::string_view line) {
    // "HTTP/1.1 200 OK"; the words behind the number are for people, and may be missing with their blank.
    bool shape = line.starts_with("HTTP/1.") && line.size() >= 12 && line[8] == ' ';
    if (!shape || (line.size() > 12 && line[12] != ' ')) return refuse(Reason::bad_request);
    int status = 0;
    auto [at, error] = std::from_chars(line.data() + 9, line.data() + 12, status);
    if (error != std::errc() || at != line.data() + 12 || status < 100) return refuse(Reason::bad_request);
    return status;
}

std::optional<std::size_t> parse_chunk_size(std::string_view line) {
    std::string_view digits = line.substr(0, line.find_first_of("; \t"));
    std::size_t size = 0;
    auto end = digits.data() + digits.size();
    auto [at, error] = std::from_chars(digits.data(), end, size, 16);
    // Fifteen digits are more than any body we take, and cannot overflow.
    bool sound = error == std::errc() && at == end && !digits.empty() && digits.size() <= 15;
    return sound && digits.front() != '-' ? std::optional(size) : std::nullopt;
}

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

// `room`: how much more payload may come.
Result<bool> ChunkReader::line_complete(std::size_t room) {
    std::string line = std::exchange(line_, {});
    if (at_ == At::trailer) {
        trailers_ += line.size();
        return line.empty() ? Result<bool>(true) : Result<bool>(false);
    }
    if (at_ == At::payload_end) {
        if (!line.empty()) return refuse(Reason::bad_request);
        at_ = At::size;
        return false;
    }
    auto size = parse_chunk_size(line);
    if (!size) return refuse(Reason::bad_request);
    if (*size > room) return refuse(Reason::limit);
    left_ = *size;
    at_ = left_ == 0 ? At::trailer : At::payload;
    return false;
}

Result<bool> ChunkReader::take(ConstBytes& input, std::string& to, std::size_t most) {
    while (!input.empty()) {
        if (at_ == At::payload) {
            std::size_t size = std::min(left_, input.size());
            to += as_text(input.first(size));
            input = input.subspan(size);
            left_ -= size;
            if (left_ == 0) at_ = At::payload_end;
            continue;
        }
        auto c = static_cast<char>(input[0]);
        input = input.subspan(1);
        bool after_cr = !line_.empty() && line_.back() == '\r';
        if ((c == '\n') != after_cr) return refuse(Reason::bad_request);
        if (c == '\n') {
            line_.pop_back();
            TRY(bool last, line_complete(most - to.size()));
            if (last) return true;
            continue;
        }
        std::size_t line_max =
            at_ == At::trailer ? trailers_max - std::min(trailers_max, trailers_) : chunk_line_max;
        if (line_.size() >= line_max) return refuse(Reason::limit);
        line_ += c;
    }
    return false;
}

// True: the response has no body and is complete.
Result<bool> ResponseParser::head_complete() {
    Lines lines(head_.text());
    TRY(int status, parse_status(lines.next().value_or("")));
    TRY(std::vector<Field> fields, parse_fields(lines));
    head_.clear();
    if (status == 101) return refuse(Reason::unsupported);
    if (status < 200) return false;  // interim: the real one follows
    TRY(Framing framing, framing_of(fields));
    if (framing.length.value_or(0) > body_max_) return refuse(Reason::limit);
    Response& response = response_.emplace();
    response.status = status;
    response.content_type = find_field(fields, "content-type");
    response.fields = std::move(fields);
    body_ = framing.length ? Body::length : Body::until_close;
    if (framing.chunked) body_ = Body::chunked;
    if (has_no_body(status)) body_ = Body::length;
    left_ = has_no_body(status) ? 0 : framing.length.value_or(0);
    chunks_ = {};
    return body_ == Body::length && left_ == 0;
}

Result<bool> ResponseParser::take_body(ConstBytes& input) {
    std::string& body = response_->body;
    if (body_ == Body::chunked) return chunks_.take(input, body, body_max_);
    std::size_t size = body_ == Body::length ? std::min(left_, input.size()) : input.size();
    if (body.size() + size > body_max_) return refuse(Reason::limit);
    body += as_text(input.first(size));
    input = input.subspan(size);
    left_ -= body_ == Body::length ? size : 0;
    return body_ == Body::length && left_ == 0;
}

Result<std::optional<Response>> ResponseParser::next(ConstBytes& input) {
    bool complete = false;
    while (!response_) {
        TRY(bool head, head_.take(input));
        if (!head) return std::nullopt;
        TRY(complete, head_complete());
    }
    if (!complete) {
        TRY(complete, take_body(input));
    }
    if (!complete) return std::nullopt;
    return std::exchange(response_, std::nullopt);
}

Result<Response> ResponseParser::end() {
    if (!response_ || body_ != Body::until_close) return refuse(Reason::truncated);
    Response whole = std::move(*response_);
    response_.reset();
    return whole;
}

}  // namespace culvert::h1
