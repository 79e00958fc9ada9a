#include "test/support/vectors.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace culvert::test {
namespace {

[[noreturn]] void broken(const std::string& what) {
    std::fprintf(stderr, "test vectors: %s\n", what.c_str());
    std::abort();
}

std::string trim(std::string text) {
    auto first = text.find_first_not_of(" \t");
    auto last = text.find_last_not_of(" \t");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::string without_comment(const std::string& line) {
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == '"') quoted = !quoted;
        if (line[i] == '#' && !quoted) return line.substr(0, i);
    }
    return line;
}

int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string_view Vector::value(std::string_view key) const {
    for (const auto& [each, text] : lines)
        if (each == key) return text;
    return {};
}

std::vector<std::string_view> Vector::values(std::string_view key) const {
    std::vector<std::string_view> found;
    for (const auto& [each, text] : lines)
        if (each == key) found.push_back(text);
    return found;
}

bool Vector::has(std::string_view key) const { return !values(key).empty(); }

std::vector<Vector> read_vectors(const std::string& path) {
    std::ifstream file(path);
    if (!file) broken("cannot open " + path);
    std::vector<Vector> cases;
    for (std::string raw; std::getline(file, raw);) {
        std::string line = without_comment(raw);
        std::string text = trim(line);
        if (text.empty()) continue;
        if (text.starts_with("== ")) {
            cases.push_back({trim(text.substr(3)), {}});
            continue;
        }
        if (cases.empty()) broken(path + ": a line before the first case: " + text);
        auto& lines = cases.back().lines;
        if (line.front() == ' ' || line.front() == '\t') {
            if (lines.empty()) broken(path + ": nothing to continue: " + text);
            lines.back().second += " " + text;
            continue;
        }
        auto colon = text.find(':');
        if (colon == std::string::npos) broken(path + ": no key: " + text);
        lines.emplace_back(text.substr(0, colon), trim(text.substr(colon + 1)));
    }
    if (cases.empty()) broken(path + ": no cases");
    return cases;
}

Buffer bytes_of(std::string_view hex) {
    Buffer bytes;
    while (!hex.empty()) {
        if (hex.front() == ' ') {
            hex.remove_prefix(1);
            continue;
        }
        if (hex.front() == '"') {
            auto end = hex.find('"', 1);
            if (end == std::string_view::npos) broken("open quote");
            append(bytes, as_bytes(hex.substr(1, end - 1)));
            hex.remove_prefix(end + 1);
            continue;
        }
        std::size_t times = 1;
        auto blank = hex.find(' ');
        auto cross = hex.find('x');
        if (cross < blank && cross != std::string_view::npos) {
            times = std::strtoul(std::string(hex.substr(0, cross)).c_str(), nullptr, 10);
            hex.remove_prefix(cross + 1);
        }
        if (hex.size() < 2 || digit(hex[0]) < 0 || digit(hex[1]) < 0) broken("not hex: " + std::string(hex));
        bytes.insert(bytes.end(), times, static_cast<std::byte>(digit(hex[0]) * 16 + digit(hex[1])));
        hex.remove_prefix(2);
    }
    return bytes;
}

std::string hex_of(ConstBytes bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::byte each : bytes) {
        text += digits[std::to_integer<unsigned>(each) / 16];
        text += digits[std::to_integer<unsigned>(each) % 16];
    }
    return text;
}

}  // namespace culvert::test
