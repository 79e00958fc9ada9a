// YAML in, Values out. The one place that knows yaml-cpp and catches what it throws (decision 22).
//
// Scalars are told apart as Kubernetes' own reader does it: quoted ones are text; plain ones may be null, a
// boolean (also yes, no, on, off, y, n) or a number. Anchors and aliases are copied out. Bounded whatever the
// text says: an alias bomb, deep nesting or a flood of values is a fault, not memory (docs/limits.md:
// yaml.*). Pure and without state: any thread.
#pragma once
#include "lib/kube/value.h"

#include <cstddef>
#include <functional>
#include <optional>

namespace culvert::kube {

inline constexpr int yaml_depth_max = 64;
inline constexpr std::size_t yaml_values_max = 1'000'000;      // in one file, aliases expanded
inline constexpr std::size_t yaml_text_bytes_max = 32u << 20;  // of all scalars, aliases expanded
inline constexpr std::size_t yaml_documents_max = 50'000;

struct YamlFault {
    int line = 0;
    std::string message;
};

// Calls `each` with every document that is not empty, in order, until the text ends or is at fault.
std::optional<YamlFault> parse_yaml(std::string_view text, const std::function<void(Value&&)>& each);

}  // namespace culvert::kube
