// JSON as the command line reads it: a value that never throws and never fails to answer. A missing member is
// an empty value, a wrong type its default: what is shown is a table for people, and a newer program may say
// more than we know. The one adapter of nlohmann-json here.
#pragma once
#include "lib/base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::cli {

class Json {
public:
    Json() = default;
    static Result<Json> parse(std::string_view text);  // bad_input, with the place

    Json operator[](std::string_view member) const;
    std::vector<Json> items() const;        // of an array, or the values of an object
    std::vector<std::string> keys() const;  // of an object, in its order
    std::string text() const;               // strings bare, numbers and booleans printed, else empty
    std::int64_t number() const;
    bool is_true() const;
    bool empty() const;        // missing, null, "", [] or {}
    std::string dump() const;  // indented

private:
    // Shares the document and points into it.
    std::shared_ptr<const void> document_;
    const void* at_ = nullptr;
};

}  // namespace culvert::cli
