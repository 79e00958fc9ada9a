// culvert: parse, ask, print.
#include "cli/flags.h"
#include "cli/status.h"
#include "cli/ztunnel_config.h"

#include <cstdio>

using namespace culvert;

namespace {

int print(const std::string& text, int code = 0) {
    std::fputs(text.c_str(), code == 2 ? stderr : stdout);
    return code;
}

int show_status(const cli::Command& command) {
    auto agent = cli::get_json(command.ports.agent, "/status");
    auto controller = cli::get_json(command.ports.controller, "/status");
    // Not on this host, and nobody said where: the agent knows whom it reports to.
    if (!controller && agent && !command.controller_given)
        controller = cli::get_json(cli::controller_beside(*agent, command.ports.controller), "/status");
    cli::Answers answers{std::move(controller), std::move(agent),
                         cli::get_json(command.ports.ztunnel, "/config_dump"),
                         cli::get(command.ports.ready, "/healthz/ready")};
    cli::Report report = cli::report_status(answers);
    return print(command.json ? report.json : report.text, report.healthy ? 0 : 1);
}

int show_config(const cli::Command& command, std::string (*table)(const cli::Json&), std::string_view part) {
    auto dump = cli::get_json(command.ports.ztunnel, "/config_dump");
    if (!dump) {
        std::fprintf(stderr, "culvert: %s\n", dump.error().to_string().c_str());
        return 1;
    }
    return print(command.json ? (*dump)[part].dump() + "\n" : table(*dump));
}

}  // namespace

int main(int count, char** words) {
    auto command = cli::parse_command(count, words);
    if (!command) return print(command.error().text, command.error().code);
    switch (command->verb) {
    case cli::Verb::status: return show_status(*command);
    case cli::Verb::workload: return show_config(*command, cli::workload_table, "workloads");
    case cli::Verb::service: return show_config(*command, cli::service_table, "services");
    case cli::Verb::policy: return show_config(*command, cli::policy_table, "policies");
    case cli::Verb::certificate: return show_config(*command, cli::certificate_table, "certificates");
    case cli::Verb::connections: return show_config(*command, cli::connection_table, "workloadState");
    case cli::Verb::version: return print("culvert " CULVERT_VERSION "\n");
    case cli::Verb::completion: return print(cli::completion_script());
    }
    return 2;
}
