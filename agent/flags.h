// The command line: words in, Settings out, and a help that teaches. The one file of the agent that knows
// CLI11 and catches what it throws (decision 22). Pure but for the environment (NODE_NAME) and the text that
// --help prints.
#pragma once
#include "agent/settings.h"
#include "lib/base/result.h"

namespace culvert::agent {

// Command::nothing: --help or --version was answered on stdout.
Result<Settings> parse_flags(int argc, const char* const* argv);

}  // namespace culvert::agent
