#include "cli/table.h"

#include <algorithm>

namespace culvert::cli {
namespace {

// Columns of a terminal: bytes that continue a UTF-8 character take none.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string_view shown(const std::string& cell) { return cell.empty() ? "-" : std::string_view(cell); }

}  // namespace

std::string Table::to_string() const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < widths.size(); ++i)
            widths[i] = std::max(widths[i], width_of(shown(row[i])));
    std::string out;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i) {
            line += shown(row[i]);
            line.append(widths[i] + 3 - width_of(shown(row[i])), ' ');
        }
        out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return out;
}

}  // namespace culvert::cli
