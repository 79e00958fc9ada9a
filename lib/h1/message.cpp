#include "lib/h1/message.h"

#include <algorithm>

namespace culvert::h1 {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

std::string_view trim(std::string_view text) {
    auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The text before the separator; `rest` keeps what is behind it.
std::string_view take_until(std::string_view& rest, char separator) {
    auto end = rest.find(separator);
    std::string_view taken = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return taken;
}

template <class Matches>
bool any_element(const std::vector<Field>& fields, std::string_view name, Matches&& matches) {
    for (const Field& field : fields) {
        if (field.name != name) continue;
        std::string_view rest = field.value;
        while (!rest.empty())
            if (matches(trim(take_until(rest, ',')))) return true;
    }
    return false;
}

// "q=0" in the parameters behind a media type: explicitly not wanted (RFC 9110 12.4.2).
bool unwanted(std::string_view parameters) {
    while (!parameters.empty()) {
        std::string_view each = trim(take_until(parameters, ';'));
        if (!each.starts_with("q=") && !each.starts_with("Q=")) continue;
        return each.substr(2).find_first_not_of("0.") == std::string_view::npos;
    }
    return false;
}

int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string_view find_field(const std::vector<Field>& fields, std::string_view name) {
    auto at = std::ranges::find(fields, name, &Field::name);
    return at == fields.end() ? std::string_view() : at->value;
}

bool list_has(const std::vector<Field>& fields, std::string_view name, std::string_view element) {
    return any_element(fields, name, [element](std::string_view each) { return same(each, element); });
}

bool Request::accepts(std::string_view media_type, bool wildcards) const {
    std::string range = std::string(media_type.substr(0, media_type.find('/'))) + "/*";
    return any_element(fields, "accept", [&](std::string_view each) {
        std::string_view type = trim(take_until(each, ';'));
        bool wild = wildcards && (type == "*/*" || same(type, range));
        return (wild || same(type, media_type)) && !unwanted(each);
    });
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+' && plus_is_space) c = ' ';
        if (text[i] == '%') {
            if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
            c = static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
            i += 2;
        }
        if (c == '\0') return std::nullopt;
        decoded += c;
    }
    return decoded;
}

std::vector<Field> parse_query(std::string_view query) {
    std::vector<Field> pairs;
    while (!query.empty()) {
        std::string_view value = take_until(query, '&');
        std::string_view name = take_until(value, '=');
        auto decoded_name = percent_decode(name, true);
        auto decoded_value = percent_decode(value, true);
        // A pair that does not decode is one that nobody can have meant.
        if (decoded_name && decoded_value && !decoded_name->empty()) {
            pairs.push_back({std::move(*decoded_name), std::move(*decoded_value)});
        }
    }
    return pairs;
}

}  // namespace culvert::h1
