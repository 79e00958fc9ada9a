#include "cli/json.h"

#include <nlohmann/json.hpp>

namespace culvert::cli {
namespace {

using Value = nlohmann::ordered_json;

const Value& value_at(const void* at) {
    static const Value nothing;
    return at ? *static_cast<const Value*>(at) : nothing;
}

}  // namespace

struct Made {
    static Json from(Value value) {
        auto document = std::make_shared<const Value>(std::move(value));
        Json json;
        json.at_ = document.get();
        json.document_ = std::move(document);
        return json;
    }
    static const Value& in(const Json& json) { return value_at(json.at_); }
};

Json Json::of(std::string_view text) { return Made::from(text); }
Json Json::of(std::int64_t number) { return Made::from(number); }
Json Json::of(bool flag) { return Made::from(flag); }

Json Json::array(const std::vector<Json>& items) {
    Value all = Value::array();
    for (const Json& item : items) all.push_back(Made::in(item));
    return Made::from(std::move(all));
}

Json Json::object(const std::vector<std::pair<std::string, Json>>& members) {
    Value all = Value::object();
    for (const auto& [name, member] : members) all[name] = Made::in(member);
    return Made::from(std::move(all));
}

Result<Json> Json::parse(std::string_view text) {
    try {
        return Made::from(Value::parse(text));
    } catch (const Value::exception& error) {
        return refuse(Reason::bad_input, std::string("not JSON: ") + error.what());
    }
}

Json Json::operator[](std::string_view member) const {
    const Value& value = value_at(at_);
    Json out;
    if (!value.is_object()) return out;
    auto found = value.find(std::string(member));
    if (found == value.end()) return out;
    out.document_ = document_;
    out.at_ = &*found;
    return out;
}

std::vector<Json> Json::items() const {
    std::vector<Json> out;
    const Value& value = value_at(at_);
    if (!value.is_array() && !value.is_object()) return out;
    for (const Value& item : value) {
        Json json;
        json.document_ = document_;
        json.at_ = &item;
        out.push_back(std::move(json));
    }
    return out;
}

std::vector<std::string> Json::keys() const {
    std::vector<std::string> out;
    const Value& value = value_at(at_);
    if (!value.is_object()) return out;
    for (const auto& [key, item] : value.items()) out.push_back(key);
    return out;
}

std::string Json::text() const {
    const Value& value = value_at(at_);
    if (const auto* string = value.get_ptr<const std::string*>()) return *string;
    if (value.is_number() || value.is_boolean()) return value.dump();
    return {};
}

std::int64_t Json::number() const {
    const Value& value = value_at(at_);
    return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

bool Json::is_true() const {
    const bool* boolean = value_at(at_).get_ptr<const bool*>();
    return boolean && *boolean;
}

bool Json::empty() const {
    const Value& value = value_at(at_);
    if (const auto* string = value.get_ptr<const std::string*>()) return string->empty();
    return value.empty();  // null, [] and {}
}

std::string Json::dump() const { return value_at(at_).dump(2, ' ', false, Value::error_handler_t::replace); }

}  // namespace culvert::cli
