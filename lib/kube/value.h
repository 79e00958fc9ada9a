// A parsed document, whatever it was written in: what decode.h reads. YAML (yaml.h) builds it today, the API
// server's JSON later. A value with its line, owned by whoever parsed it; bounded by its parser.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::kube {

struct Value {
    enum class Type : std::uint8_t { null, boolean, number, text, list, map };
    Type type = Type::null;
    int line = 0;
    std::string text;  // of boolean ("true", "false"), number (as written) and text
    std::vector<Value> items;
    struct Field;
    std::vector<Field> fields;  // in order; names are unique

    bool is(Type what) const { return type == what; }
    const Value* find(std::string_view name) const;
};

struct Value::Field {
    std::string name;
    Value value;
};

inline const Value* Value::find(std::string_view name) const {
    for (const Field& field : fields)
        if (field.name == name) return &field.value;
    return nullptr;
}

}  // namespace culvert::kube
