// The words of a command line without the program's name, as every program of ours understands them: "help"
// in front is --help behind, so that `agent help`, `agent help uninstall` and `agent uninstall --help` are
// one. Pure.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace culvert {

inline std::vector<std::string> command_words(int count, const char* const* words) {
    std::vector<std::string> out;
    for (int i = 1; i < count; ++i) out.emplace_back(words[i]);
    if (out.empty() || out.front() != "help") return out;
    out.erase(out.begin());
    out.emplace_back("--help");
    return out;
}

}  // namespace culvert
