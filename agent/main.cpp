// Words in, exit code out: 0 done, 1 this machine or configuration, 2 the command line.
#include "agent/agent.h"
#include "agent/flags.h"
#include "agent/precheck.h"
#include "lib/base/log.h"

#include <cstdio>
#include <string>

namespace {

namespace agent = culvert::agent;

int complain(const culvert::Error& error) {
    std::fprintf(stderr, "agent: %s\n", error.to_string().c_str());
    return 1;
}

int precheck(bool say_all) {
    bool whole = true;
    for (const agent::Feature& feature : agent::look_at_machine()) {
        whole = whole && feature.present;
        if (!feature.present)
            std::fprintf(stderr, "missing  %s\n         fix: %s\n", feature.name.c_str(),
                         feature.fix.c_str());
        else if (say_all)
            std::printf("present  %s\n", feature.name.c_str());
    }
    return whole ? 0 : 1;
}

int run(const agent::Settings& settings) {
    if (precheck(false) != 0) return 1;
    agent::block_signals();
    culvert::Result<culvert::Done> logging =
        culvert::log::start({.json = settings.log_json, .filter = settings.log_filter});
    if (!logging) return complain(logging.error());
    culvert::Result<std::unique_ptr<agent::Agent>> started = agent::Agent::start(settings);
    if (started) (*started)->run();
    int outcome = started ? 0 : complain(started.error());
    if (started) started->reset();
    culvert::log::stop();
    return outcome;
}

}  // namespace

// Leaks are not looked for: the checker traces its own process, which one that dropped capabilities may not
// (decision 23). In builds without AddressSanitizer nobody calls it.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

int main(int argc, char** argv) {
    culvert::Result<agent::Settings> settings = agent::parse_flags(argc, argv);
    if (!settings) {
        complain(settings.error());
        return 2;
    }
    switch (settings->command) {
    case agent::Command::nothing: return 0;
    case agent::Command::precheck: return precheck(true);
    case agent::Command::uninstall: {
        culvert::Result<culvert::Done> gone = agent::uninstall(*settings);
        return gone ? 0 : complain(gone.error());
    }
    case agent::Command::run: return run(*settings);
    }
    return 2;
}
