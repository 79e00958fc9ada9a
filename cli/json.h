// JSON as the command line reads and writes it: a value that never throws and never fails to answer. A
// missing member is an empty value, a wrong type its default: what is shown is a table for people, and a
// newer program may say more than we know. Text that is no UTF-8 is written with its bad bytes replaced. The
// one adapter of nlohmann-json here.
#pragma once
#include "lib/base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::cli {

class Json {
public:
    Json() = default;
    static Result<Json> parse(std::string_view text);  // bad_input, with the place
    static Json of(std::string_view text);
    static Json of(const char* text) { return of(std::string_view(text)); }
    static Json of(std::int64_t number);
    static Json of(bool flag);
    static Json array(const std::vector<Json>& items);
    static Json object(const std::vector<std::pair<std::string, Json>>& members);  // in this order

    Json operator[](std::string_view member) const;
    std::vector<Json> items() const;        // of an array, or the values of an object
    std::vector<std::string> keys() const;  // of an object, in its order
    std::string text() const;               // strings bare, numbers and booleans printed, else empty
    std::int64_t number() const;
    bool is_true() const;
    bool empty() const;        // missing, null, "", [] or {}
    std::string dump() const;  // indented

private:
    friend struct Made;
    // Shares the document and points into it.
    std::shared_ptr<const void> document_;
    const void* at_ = nullptr;
};

}  // namespace culvert::cli
