#include "lib/kube/fields.h"

#include <algorithm>
#include <vector>

namespace culvert::kube {
namespace {

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_dns_label(std::string_view text) {
    if (text.empty() || text.size() > 63 || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back()))
        return false;
    return std::ranges::all_of(text, [](char c) { return is_lower_alnum(c) || c == '-'; });
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Edit distance without regard to case, one row at a time. Both are names: short.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

}  // namespace

bool is_dns_name(std::string_view text, bool label) {
    if (label) return is_dns_label(text);
    if (text.size() > 253) return false;
    for (;;) {
        const std::size_t dot = text.find('.');
        if (!is_dns_label(text.substr(0, dot))) return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

std::string_view nearest(std::string_view wrong, std::span<const std::string_view> names) {
    constexpr std::size_t name_bytes_max = 64;  // longer is no typing error of ours
    if (wrong.size() > name_bytes_max) return {};
    std::string_view best;
    std::size_t best_distance = std::max<std::size_t>(2, wrong.size() / 3) + 1;
    for (std::string_view name : names) {
        const std::size_t d = distance(wrong, name);
        if (d < best_distance) best = name, best_distance = d;
    }
    return best;
}

}  // namespace culvert::kube
