#include "cli/flags.h"

#include <CLI/CLI.hpp>

namespace culvert::cli {
namespace {

constexpr const char* examples = R"(
Examples:
  culvert status                                   is the mesh well on this node, and what to do if not
  culvert status --controller 10.0.0.5:15014       with a controller elsewhere (or CULVERT_CONTROLLER)
  culvert ztunnel-config workload                  whom this node's ztunnel knows, and how it would reach them
  culvert ztunnel-config connections -o json       open connections as JSON
  source <(culvert completion)                     completion for bash

Exit code: 0 all is well, 1 something is to look at, 2 the command itself was wrong.)";

// "localhost:15000", ":15000" or "10.0.0.1:15000".
std::string check_address(std::string& text) {
    std::string_view host = std::string_view(text).substr(0, text.rfind(':'));
    if (text.find(':') != std::string::npos && (host == "localhost" || host.empty()))
        text = "127.0.0.1" + text.substr(text.rfind(':'));
    return Address::parse(text)
               ? ""
               : "'" + text + "' is no ADDRESS:PORT, such as 10.0.0.5:15014 or [fd00::5]:15014";
}

struct Words {
    std::string ztunnel = "127.0.0.1:15000", ready = "127.0.0.1:15021", agent = "127.0.0.1:15019",
                controller = "127.0.0.1:15014", form = "table";
};

void add_ports(CLI::App& app, Words& words) {
    auto check = CLI::Validator(check_address, "ADDRESS:PORT");
    app.add_option("--controller", words.controller, "status port of the controller")
        ->envname("CULVERT_CONTROLLER")
        ->transform(check);
    app.add_option("--agent", words.agent, "status port of the node's agent")
        ->envname("CULVERT_AGENT")
        ->transform(check);
    app.add_option("--ztunnel", words.ztunnel, "admin port of the node's ztunnel")
        ->envname("CULVERT_ZTUNNEL")
        ->transform(check);
    app.add_option("--ztunnel-ready", words.ready, "readiness port of the node's ztunnel")->transform(check);
    app.add_option("-o,--output", words.form, "form of the answer")->check(CLI::IsMember({"table", "json"}));
}

Command command_of(const Words& words, Verb verb) {
    return {verb,
            {*Address::parse(words.ztunnel), *Address::parse(words.ready), *Address::parse(words.agent),
             *Address::parse(words.controller)},
            words.form == "json"};
}

}  // namespace

std::expected<Command, Exit> parse_command(int count, const char* const* words) {
    Words given;
    CLI::App app("culvert looks at the mesh: what runs, who is in it, what was refused and why. It never "
                 "changes anything.",
                 "culvert");
    app.footer(examples);
    app.require_subcommand(1);
    app.fallthrough();
    add_ports(app, given);
    Verb verb = Verb::status;
    auto add = [&](CLI::App& parent, const char* name, const char* help, Verb which) {
        return parent.add_subcommand(name, help)->fallthrough()->callback([&verb, which] { verb = which; });
    };
    add(app, "status", "is the mesh well, seen from this node", Verb::status);
    CLI::App* config =
        app.add_subcommand("ztunnel-config", "what this node's ztunnel believes")->fallthrough();
    config->require_subcommand(1);
    add(*config, "workload", "workloads: addresses, identity, HBONE or TCP", Verb::workload)
        ->alias("workloads");
    add(*config, "service", "services: VIPs, ports, endpoints", Verb::service)->alias("services");
    add(*config, "policy", "authorization policies in force", Verb::policy)->alias("policies");
    add(*config, "certificate", "certificates: identity, state, validity", Verb::certificate)
        ->alias("certificates");
    add(*config, "connections", "open connections of this node's pods", Verb::connections)
        ->alias("connection");
    add(app, "version", "version of this program", Verb::version);
    add(app, "completion", "completion script for bash", Verb::completion);
    try {
        app.parse(count, words);
    } catch (const CLI::ParseError& stop) {
        std::ostringstream out, error;
        int code = app.exit(stop, out, error);
        // A misspelt subcommand is reported as a missing one: name the word that was not understood.
        auto left = app.remaining(true);
        std::string unknown =
            code == 0 || left.empty() ? "" : "culvert: unknown word '" + left.front() + "'\n";
        return std::unexpected(Exit{unknown + out.str() + error.str(), code == 0 ? 0 : 2});
    }
    return command_of(given, verb);
}

std::string completion_script() {
    return R"(_culvert() {
  local word="${COMP_WORDS[COMP_CWORD]}"
  case "${COMP_WORDS[1]}" in
    ztunnel-config) COMPREPLY=($(compgen -W "workload service policy certificate connections" -- "$word")) ;;
    *) COMPREPLY=($(compgen -W "status ztunnel-config version completion --controller --agent --ztunnel --output --help" -- "$word")) ;;
  esac
}
complete -F _culvert culvert
)";
}

}  // namespace culvert::cli
