// Test vectors are files: cases with named lines, readable by people, shared by tests and fuzz seeds.
//
//   # a comment, to the end of the line (outside quotes)
//   == a case begins; this is its name, a claim
//   key: a value
//       a line that begins with a blank continues the value above
//   key: the same key again is a second value
#pragma once
#include "lib/base/bytes.h"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::test {

struct Vector {
    std::string name;
    std::vector<std::pair<std::string, std::string>> lines;

    std::string_view value(std::string_view key) const;  // the first one; empty if absent
    std::vector<std::string_view> values(std::string_view key) const;
    bool has(std::string_view key) const;
};

// Stops the test program with a message when the file is missing, empty or malformed: no vectors prove
// nothing.
std::vector<Vector> read_vectors(const std::string& path);

// Hex digits in any grouping, "text" in quotes for itself, and NxHH for N times the byte HH.
Buffer bytes_of(std::string_view hex);
std::string hex_of(ConstBytes bytes);

}  // namespace culvert::test
