// The command line: words in, a Command out. The one adapter of CLI11 here; help texts live beside the
// options they explain.
#pragma once
#include "controller/server.h"

#include <expected>
#include <string>

namespace culvert::controller {

struct Command {
    enum class Verb : std::uint8_t { serve, validate };
    Verb verb = Verb::serve;
    Options options;        // of serve
    std::string manifests;  // of validate: a directory, a file or "-"
    bool json = false;      // of validate's answer
    bool log_json = false;
    std::string log_filter = "info";
};

// Help was asked for, or the words make no sense: what to print and the exit code.
struct Exit {
    std::string text;
    int code = 0;
};
std::expected<Command, Exit> parse_command(int count, const char* const* words);

}  // namespace culvert::controller
