// Words in, exit code out: 0 done, 1 this machine or configuration, 2 the command line.
#include "agent/agent.h"
#include "agent/flags.h"
#include "agent/json.h"
#include "agent/precheck.h"
#include "agent/privileges.h"
#include "agent/uninstall.h"
#include "lib/base/log.h"

#include <algorithm>
#include <cstdio>
#include <thread>

namespace {

namespace agent = culvert::agent;

int complain(const culvert::Error& error) {
    std::fprintf(stderr, "agent: %s\n", error.to_string().c_str());
    return 1;
}

bool is_whole(const std::vector<agent::Feature>& features) {
    return std::ranges::all_of(features, &agent::Feature::present);
}

void print(std::FILE* to, const agent::Feature& feature) {
    if (feature.present)
        std::fprintf(to, "present  %s\n", feature.name.c_str());
    else
        std::fprintf(to, "missing  %s\n         fix: %s\n", feature.name.c_str(), feature.fix.c_str());
}

int precheck(const agent::Settings& settings) {
    std::vector<agent::Feature> features = agent::look_at_machine();
    if (settings.json)
        std::fputs(agent::to_json(features).c_str(), stdout);
    else
        for (const agent::Feature& feature : features) print(stdout, feature);
    return is_whole(features) ? 0 : 1;
}

int leave(const agent::Settings& settings) {
    agent::Feature capabilities = agent::look_at_capabilities();
    if (!capabilities.present) {
        print(stderr, capabilities);
        return 1;
    }
    culvert::Result<std::vector<std::string>> gone = agent::uninstall(settings);
    if (!gone) return complain(gone.error());
    for (const std::string& line : *gone) std::printf("%s\n", line.c_str());
    if (gone->empty())
        std::printf("nothing to remove: no agent left anything in %s\n", settings.run_directory.c_str());
    return 0;
}

// The writer inherits from the thread that makes it: one that has given every capability away.
culvert::Result<culvert::Done> start_log(const agent::Settings& settings) {
    culvert::Result<culvert::Done> outcome = culvert::Done{};
    std::thread maker([&] {
        outcome = agent::keep_capabilities({});
        if (outcome)
            outcome = culvert::log::start({.json = settings.log_json, .filter = settings.log_filter});
    });
    maker.join();
    return outcome;
}

int run(const agent::Settings& settings) {
    std::vector<agent::Feature> features = agent::look_at_machine();
    for (const agent::Feature& feature : features)
        if (!feature.present) print(stderr, feature);
    if (!is_whole(features)) return 1;
    agent::block_signals();
    culvert::Result<culvert::Done> logging = start_log(settings);
    if (!logging) return complain(logging.error());
    culvert::Result<std::unique_ptr<agent::Agent>> started = agent::Agent::start(settings);
    culvert::Result<culvert::Done> ran = culvert::Done{};
    if (started)
        ran = (*started)->run();
    else
        ran = culvert::refuse(std::move(started));
    int outcome = ran ? 0 : complain(ran.error());
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
    case agent::Command::precheck: return precheck(*settings);
    case agent::Command::uninstall: return leave(*settings);
    case agent::Command::run: return run(*settings);
    }
    return 2;
}
