#include "lib/base/escape.h"

#include <fmt/format.h>

#include <algorithm>

namespace culvert {
namespace {

bool is_plain(char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f && byte != 0xc2;
}

// C1 controls are U+0080 to U+009F: C2 80 to C2 9F.
bool is_c1(std::string_view rest) {
    return rest.size() > 1 && rest[0] == '\xc2' && static_cast<unsigned char>(rest[1]) < 0xa0;
}

}  // namespace

void append_escaped(std::string& out, std::string_view text) {
    if (std::ranges::all_of(text, is_plain)) {
        out += text;
        return;
    }
    for (std::size_t at = 0; at < text.size(); ++at) {
        auto byte = static_cast<unsigned char>(text[at]);
        if (byte == '\n')
            out += "\\n";
        else if (byte == '\t')
            out += "\\t";
        else if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\u{:04x}", byte);
        else if (is_c1(text.substr(at)))
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[++at]));
        else
            out += text[at];
    }
}

std::string escaped(std::string_view text) {
    std::string out;
    append_escaped(out, text);
    return out;
}

}  // namespace culvert
