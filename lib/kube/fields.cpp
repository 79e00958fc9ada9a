#include "lib/kube/fields.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <numeric>

namespace culvert::kube {
namespace {

constexpr std::size_t shown_bytes_max = 80;  // of a value that is repeated in a message

std::string shown(std::string_view text) {
    std::string out = "\"";
    out += text.substr(0, shown_bytes_max);
    if (text.size() > shown_bytes_max) out += "...";
    return out + "\"";
}

std::string_view name_of(Value::Type type) {
    switch (type) {
    case Value::Type::null: return "nothing";
    case Value::Type::boolean: return "true or false";
    case Value::Type::number: return "a number";
    case Value::Type::text: return "text";
    case Value::Type::list: return "a list";
    case Value::Type::map: return "a map";
    }
    return "something else";
}

std::optional<std::int64_t> whole_number(std::string_view text) {
    if (text.size() > 1 && text.front() == '0') return {};  // octal to some readers, decimal to others
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return {};
    return value;
}

bool label_text(std::string_view text) {
    auto alnum = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (text.empty() || text.size() > 63 || !alnum(text.front()) || !alnum(text.back())) return false;
    return std::ranges::all_of(text, [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool label_key(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return label_text(text);
    return is_dns_name(text.substr(0, slash), false) && label_text(text.substr(slash + 1));
}

// "2026-01-31T12:00:00Z", also with a fraction or an offset.
std::optional<std::int64_t> rfc3339(std::string_view text) {
    auto digits = [&](std::size_t at, std::size_t count) -> int {
        int value = 0;
        for (std::size_t i = at; i < at + count; ++i) {
            if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
            value = value * 10 + (text[i] - '0');
        }
        return value;
    };
    if (text.size() < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't'))
        return {};
    if (text[13] != ':' || text[16] != ':') return {};
    const int year = digits(0, 4), month = digits(5, 2), day = digits(8, 2);
    const int hour = digits(11, 2), minute = digits(14, 2), second = digits(17, 2);
    if (year < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return {};
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (month < 1 || day < 1 || !date.ok()) return {};
    std::size_t at = 19;
    if (text[at] == '.') do
            ++at;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9');
    std::int64_t offset_s = 0;
    const std::string_view zone = text.substr(at);
    if (zone != "Z" && zone != "z") {
        if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return {};
        const int hours = digits(at + 1, 2), minutes = digits(at + 4, 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return {};
        offset_s = (hours * 3600 + minutes * 60) * (zone[0] == '-' ? -1 : 1);
    }
    const auto days = std::chrono::sys_days(date).time_since_epoch().count();
    return std::int64_t{days} * 86'400 + hour * 3600 + minute * 60 + second - offset_s;
}

}  // namespace

void Problems::add(Problem::Severity severity, int line, std::string field, std::string message,
                   std::string fix) {
    if (severity == Problem::Severity::error) ++errors_;
    if (list_.size() >= file_problems_max) return;
    list_.push_back({severity, file_, line, object_, std::move(field), std::move(message), std::move(fix)});
}
void Problems::error(int line, std::string field, std::string message, std::string fix) {
    add(Problem::Severity::error, line, std::move(field), std::move(message), std::move(fix));
}
void Problems::warning(int line, std::string field, std::string message, std::string fix) {
    add(Problem::Severity::warning, line, std::move(field), std::move(message), std::move(fix));
}
std::vector<Problem> Problems::take() {
    // Sorting numbers keeps problems of one line in their order.
    std::vector<std::size_t> order(list_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(list_[i].line, i); });
    std::vector<Problem> out;
    for (std::size_t i : order) out.push_back(std::move(list_[i]));
    list_.clear();
    return out;
}

Fields::Fields(const Value* value, std::string path, int line, Problems& problems)
    : value_(value), path_(std::move(path)), line_(line), problems_(problems) {
    if (!value_ || value_->is(Value::Type::null)) {
        value_ = nullptr;
    } else if (!value_->is(Value::Type::map)) {
        problems_.error(line_, path_, "must be a map, not " + std::string(name_of(value_->type)));
        value_ = nullptr;
    }
}

Fields::~Fields() {
    if (value_ && check_unknown_) report_unknown();
}

void Fields::report_unknown() const {
    for (const auto& [name, value] : value_->fields) {
        if (std::ranges::find(asked_, std::string_view(name)) != asked_.end()) continue;
        const std::string_view near = nearest(name, asked_);
        std::string fix = near.empty() ? "remove it" : "did you mean " + std::string(near) + "?";
        problems_.error(value.line, path(name.substr(0, shown_bytes_max)), "unknown field", std::move(fix));
    }
}

const Value* Fields::take(std::string_view name) {
    asked_.push_back(name);
    const Value* found = value_ ? value_->find(name) : nullptr;
    return found && !found->is(Value::Type::null) ? found : nullptr;
}

const Value* Fields::take(std::string_view name, Value::Type type) {
    const Value* found = take(name);
    if (!found || found->is(type)) return found;
    error(name, "must be " + std::string(name_of(type)) + ", not " + std::string(name_of(found->type)));
    return nullptr;
}

bool Fields::has(std::string_view name) { return take(name) != nullptr; }

std::string Fields::path(std::string_view name) const {
    if (path_.empty() || name.empty()) return path_ + std::string(name);
    return path_ + "." + std::string(name);
}

int Fields::line_of(std::string_view name) {
    const Value* found = value_ ? value_->find(name) : nullptr;
    return found ? found->line : line_;
}

std::string Fields::text_of(const Value& value, const std::string& where, bool may_be_empty) {
    if (value.is(Value::Type::text)) {
        if (value.text.empty() && !may_be_empty) problems_.error(value.line, where, "must not be empty");
        return value.text;
    }
    const bool scalar = value.is(Value::Type::boolean) || value.is(Value::Type::number);
    problems_.error(value.line, where, "must be text, not " + std::string(name_of(value.type)),
                    scalar ? "put it in quotes" : "");
    return {};
}

std::string Fields::text(std::string_view name) {
    const Value* found = take(name);
    return found ? text_of(*found, path(name), true) : std::string();
}

std::string Fields::required(std::string_view name) {
    const Value* found = take(name);
    if (found) return text_of(*found, path(name), false);
    error(name, "is missing");
    return {};
}

bool Fields::flag(std::string_view name, bool fallback) {
    const Value* found = take(name, Value::Type::boolean);
    return found ? found->text == "true" : fallback;
}

std::optional<std::int64_t> Fields::number(std::string_view name, Range range) {
    const Value* found = take(name);
    if (!found) return {};
    const auto value = found->is(Value::Type::number) ? whole_number(found->text) : std::nullopt;
    if (value && *value >= range.least && *value <= range.most) return value;
    error(name,
          "must be a whole number from " + std::to_string(range.least) + " to " + std::to_string(range.most),
          found->is(Value::Type::text) && whole_number(found->text) ? "remove the quotes" : "");
    return {};
}

std::uint16_t Fields::port(std::string_view name) {
    return static_cast<std::uint16_t>(number(name, any_port).value_or(0));
}

std::uint16_t Fields::required_port(std::string_view name) {
    if (!take(name)) error(name, "is missing");
    return port(name);
}

PortRef Fields::port_or_name(std::string_view name) {
    const Value* found = take(name);
    if (!found) return {};
    if (found->is(Value::Type::text)) {
        if (!found->text.empty()) return found->text;
        error(name, "must be a port's number or name");
        return {};
    }
    const std::uint16_t value = port(name);
    return value ? PortRef(value) : PortRef();
}

std::optional<Ip> Fields::address(std::string_view name) {
    const Value* found = take(name);
    if (!found) return {};
    const std::string text = text_of(*found, path(name), false);
    auto ip = Ip::parse(text);
    if (!ip && !text.empty()) error(name, shown(text) + " is no IP address");
    return ip;
}

std::vector<std::string> Fields::texts(std::string_view name) {
    std::vector<std::string> out;
    const Value* found = take(name, Value::Type::list);
    if (!found) return out;
    for (std::size_t i = 0; i < found->items.size(); ++i)
        out.push_back(text_of(found->items[i], path(name) + "[" + std::to_string(i) + "]", false));
    return out;
}

std::vector<Ip> Fields::addresses(std::string_view name) {
    std::vector<Ip> out;
    for (const std::string& text : texts(name)) {
        if (auto ip = Ip::parse(text))
            out.push_back(*ip);
        else if (!text.empty())
            error(name, shown(text) + " is no IP address");
    }
    return out;
}

std::vector<Cidr> Fields::ranges(std::string_view name) {
    std::vector<Cidr> out;
    for (const std::string& text : texts(name)) {
        if (auto range = Cidr::parse(text))
            out.push_back(*range);
        else if (!text.empty())
            error(name, shown(text) + " is no IP address or range", "write 10.0.0.1 or 10.0.0.0/8");
    }
    return out;
}

std::vector<std::uint16_t> Fields::ports_as_texts(std::string_view name) {
    std::vector<std::uint16_t> out;
    for (const std::string& text : texts(name)) {
        const auto value = whole_number(text);
        if (value && *value >= 1 && *value <= 65535)
            out.push_back(static_cast<std::uint16_t>(*value));
        else if (!text.empty())
            error(name, shown(text) + " is no port", "write a number from 1 to 65535");
    }
    return out;
}

Labels Fields::annotations(std::string_view name) {
    Labels out;
    const Value* found = take(name, Value::Type::map);
    if (!found) return out;
    for (const auto& [key, value] : found->fields)
        if (!value.is(Value::Type::null)) out[key] = text_of(value, path(name) + "." + key, true);
    return out;
}

Labels Fields::labels(std::string_view name) {
    Labels out = annotations(name);
    for (const auto& [key, value] : out) {
        if (!label_key(key)) error(name, shown(key) + " is no label's name");
        if (!value.empty() && !label_text(value))
            error(name, shown(value) + " is no label's value",
                  "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends");
    }
    return out;
}

std::optional<std::int64_t> Fields::time(std::string_view name) {
    const Value* found = take(name);
    if (!found) return {};
    const std::string text = text_of(*found, path(name), false);
    auto value = rfc3339(text);
    if (!value && !text.empty()) error(name, shown(text) + " is no time", "write it as 2026-01-31T12:00:00Z");
    return value;
}

Fields Fields::map(std::string_view name) {
    const Value* found = take(name);
    return Fields(found, path(name), line_of(name), problems_);
}

std::optional<std::size_t> Fields::choice(std::string_view name, std::span<const std::string_view> words) {
    const Value* found = take(name);
    if (!found) return {};
    const std::string text = text_of(*found, path(name), false);
    for (std::size_t i = 0; i < words.size(); ++i)
        if (words[i] == text) return i;
    std::string all;
    for (std::string_view one : words) all += (all.empty() ? "" : ", ") + std::string(one);
    const std::string_view near = nearest(text, words);
    error(name, shown(text) + " is none of " + all,
          near.empty() ? "" : "did you mean " + std::string(near) + "?");
    return {};
}

void Fields::known(std::initializer_list<std::string_view> names) {
    asked_.insert(asked_.end(), names.begin(), names.end());
}

void Fields::error(std::string_view name, std::string message, std::string fix) {
    problems_.error(line_of(name), path(name), std::move(message), std::move(fix));
}
void Fields::warning(std::string_view name, std::string message, std::string fix) {
    problems_.warning(line_of(name), path(name), std::move(message), std::move(fix));
}

}  // namespace culvert::kube
