// A parsed document, whatever it was written in: what decode.h reads. YAML (yaml.h) builds it today, the API
// server's JSON later. A value with its line, owned by whoever parsed it; bounded by its parser.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::kube {

struct Value {
    enum class Type : std::uint8_t { null, boolean, number, text, list, map };
    Type type = Type::null;
    int line = 0;
    std::string text;  // of boolean ("true", "false"), number (as written) and text
    std::vector<Value> items;
    std::vector<std::pair<std::string, Value>> fields;  // in order; keys are unique

    bool is(Type what) const { return type == what; }
    const Value* find(std::string_view name) const {
        for (const auto& [key, value] : fields)
            if (key == name) return &value;
        return nullptr;
    }
};

}  // namespace culvert::kube
