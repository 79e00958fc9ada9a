#include "lib/h2/message.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace culvert::h2 {
namespace {

enum Pseudo : std::uint8_t { method = 1, scheme = 2, authority = 4, path = 8 };

// RFC 9113 8.2.1: visible ASCII without capitals; the colon is only for pseudo-headers, in front.
bool is_field_name(std::string_view name) {
    if (name.starts_with(':')) name.remove_prefix(1);
    auto allowed = [](char c) { return c > 0x20 && c < 0x7f && !(c >= 'A' && c <= 'Z') && c != ':'; };
    return !name.empty() && std::ranges::all_of(name, allowed);
}

// RFC 9113 8.2.2: fields that speak about one connection of HTTP/1.1.
bool is_connection_field(const Field& field) {
    constexpr std::array<std::string_view, 5> names = {"connection", "proxy-connection", "keep-alive",
                                                       "transfer-encoding", "upgrade"};
    if (field.name == "te") return field.value != "trailers";
    return std::ranges::find(names, field.name) != names.end();
}

void keep_first(std::string& where, std::string_view value) {
    if (where.empty()) where = value;
}

void join(std::string& where, std::string_view value) {
    if (!where.empty()) where += ',';
    where += value;
}

class Fields {
public:
    void add(std::string_view name, std::string_view value) {
        sound_ = sound_ && is_field_value(value);
        fields_.push_back({name, value});
        size_ += fields_.back().list_size();
    }
    void add_if_any(std::string_view name, std::string_view value) {
        if (!value.empty()) add(name, value);
    }
    Result<Buffer> encode(std::size_t list_max) const {
        if (!sound_) return refuse(Reason::bad_input);
        if (size_ > list_max) return refuse(Reason::limit);
        Buffer block;
        encode_fields(fields_, block);
        return block;
    }

private:
    std::vector<Field> fields_;
    std::size_t size_ = 0;
    bool sound_ = true;
};

}  // namespace

bool is_field_value(std::string_view value) {
    auto blank = [](char c) { return c == ' ' || c == '\t'; };
    if (!value.empty() && (blank(value.front()) || blank(value.back()))) return false;
    return std::ranges::none_of(value, [](char c) { return c == '\0' || c == '\r' || c == '\n'; });
}

bool FieldRules::admit(const Field& field) {
    list_size_ += field.list_size();
    if (verdict_ != Verdict::good) return false;
    if (list_size_ > list_max_) {
        verdict_ = Verdict::too_large;
        return false;
    }
    bool pseudo = field.name.starts_with(':');
    bool late = pseudo && regular_seen_;
    regular_seen_ |= !pseudo;
    if (late || !is_field_name(field.name) || !is_field_value(field.value) || is_connection_field(field)) {
        malformed();
        return false;
    }
    return true;
}

void RequestReader::take(const Field& field) {
    if (!rules_.admit(field)) return;
    if (field.name.starts_with(':')) return take_pseudo(field);
    if (field.name == "baggage") join(request_.baggage, field.value);
    if (field.name == "forwarded") keep_first(request_.forwarded, field.value);
    if (field.name == "traceparent") keep_first(request_.traceparent, field.value);
    if (field.name == "x-forwarded-network") keep_first(request_.x_forwarded_network, field.value);
}

void RequestReader::take_pseudo(const Field& field) {
    std::uint8_t which = 0;
    if (field.name == ":method") {
        which = Pseudo::method;
        request_.method = field.value;
    } else if (field.name == ":authority") {
        which = Pseudo::authority;
        request_.authority = field.value;
    } else if (field.name == ":scheme") {
        which = Pseudo::scheme;
    } else if (field.name == ":path") {
        which = Pseudo::path;
        path_empty_ = field.value.empty();
    }
    // Twice, or one that nobody may send here: ":status", ":protocol" (we offer no extended CONNECT, H-20),
    // inventions.
    if (which == 0 || (seen_ & which) != 0) rules_.malformed();
    seen_ |= which;
}

Verdict RequestReader::finish() {
    if (rules_.verdict() != Verdict::good) return rules_.verdict();
    if (request_.is_connect()) {
        return seen_ == (Pseudo::method | Pseudo::authority) ? Verdict::good : Verdict::malformed;
    }
    constexpr std::uint8_t needed = Pseudo::method | Pseudo::scheme | Pseudo::path;
    bool whole = (seen_ & needed) == needed && !request_.method.empty() && !path_empty_;
    return whole ? Verdict::good : Verdict::malformed;
}

void ResponseReader::take(const Field& field) {
    if (!rules_.admit(field)) return;
    if (field.name == "baggage") join(response_.baggage, field.value);
    if (!field.name.starts_with(':')) return;
    auto digit = [](char c) { return c >= '0' && c <= '9'; };
    bool number = field.value.size() == 3 && std::ranges::all_of(field.value, digit) && field.value[0] != '0';
    if (field.name != ":status" || !number || response_.status != 0) return rules_.malformed();
    response_.status = (field.value[0] - '0') * 100 + (field.value[1] - '0') * 10 + (field.value[2] - '0');
}

Verdict ResponseReader::finish() {
    if (rules_.verdict() != Verdict::good) return rules_.verdict();
    bool known = response_.status != 0 && response_.status != 101;  // RFC 9113 8.6: there is no upgrade
    return known ? Verdict::good : Verdict::malformed;
}

Result<Buffer> encode(const ConnectRequest& request, std::size_t list_max) {
    if (!request.is_connect() || request.authority.empty()) return refuse(Reason::bad_input);
    Fields fields;
    fields.add(":method", request.method);
    fields.add(":authority", request.authority);
    fields.add_if_any("baggage", request.baggage);
    fields.add_if_any("forwarded", request.forwarded);
    fields.add_if_any("traceparent", request.traceparent);
    fields.add_if_any("x-forwarded-network", request.x_forwarded_network);
    return fields.encode(list_max);
}

Result<Buffer> encode(const ConnectResponse& response, std::size_t list_max) {
    if (response.status < 200 || response.status > 999) return refuse(Reason::bad_input);
    std::string status = std::to_string(response.status);
    Fields fields;
    fields.add(":status", status);
    if (response.opens()) fields.add_if_any("baggage", response.baggage);
    return fields.encode(list_max);
}

}  // namespace culvert::h2
