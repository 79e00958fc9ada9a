// The command line: words in, a Command out. The one adapter of CLI11 here. Help texts live beside the
// options they explain.
#pragma once
#include "cli/source.h"

#include <string>

namespace culvert::cli {

enum class Verb : std::uint8_t {
    status,
    workload,
    service,
    policy,
    certificate,
    connections,
    version,
    completion
};

struct Command {
    Verb verb = Verb::status;
    Ports ports;
    bool json = false;
    bool controller_given = false;  // by flag or variable; else the agent may know better than the default
};

// Help was asked for, or the words make no sense: what to print and the exit code.
struct Exit {
    std::string text;
    int code = 0;
};

std::expected<Command, Exit> parse_command(int count, const char* const* words);
std::string completion_script();

}  // namespace culvert::cli
