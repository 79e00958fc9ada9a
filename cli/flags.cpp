#include "cli/flags.h"

#include "lib/base/words.h"

#include <CLI/CLI.hpp>

#include <algorithm>

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
// The controller's other port speaks gRPC alone, and answers a question of ours with silence.
std::string check_status_port(std::string& text) {
    return text.ends_with(":15012") ? "15012 is the port of gRPC: use the status port, 15014" : "";
}

std::string check_address(std::string& text) {
    auto address = Address::parse_flag(text);
    if (!address) return "'" + text + "' is no ADDRESS:PORT, such as 10.0.0.5:15014 or [fd00::5]:15014";
    text = address->to_string();
    return {};
}

struct Words {
    std::string ztunnel = "127.0.0.1:15000", ready = "127.0.0.1:15021", agent = "127.0.0.1:15019",
                controller = "127.0.0.1:15014", form = "table";
};

void add_ports(CLI::App& app, Words& words) {
    auto check = CLI::Validator(check_address, "ADDRESS:PORT");
    app.add_option("--controller", words.controller, "status port of the controller")
        ->envname("CULVERT_CONTROLLER")
        ->transform(check)
        ->transform(CLI::Validator(check_status_port, ""))
        ->capture_default_str();
    app.add_option("--agent", words.agent, "status port of the node's agent")
        ->envname("CULVERT_AGENT")
        ->transform(check)
        ->capture_default_str();
    app.add_option("--ztunnel", words.ztunnel, "admin port of the node's ztunnel")
        ->envname("CULVERT_ZTUNNEL")
        ->transform(check)
        ->capture_default_str();
    app.add_option("--ztunnel-ready", words.ready, "readiness port of the node's ztunnel")
        ->transform(check)
        ->capture_default_str();
    app.add_option("-o,--output", words.form, "form of the answer")
        ->check(CLI::IsMember({"table", "json"}))
        ->capture_default_str();
}

Command command_of(const Words& words, Verb verb, bool controller_given) {
    return {verb,
            {*Address::parse(words.ztunnel), *Address::parse(words.ready), *Address::parse(words.agent),
             *Address::parse(words.controller)},
            words.form == "json",
            controller_given};
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
    // The options are every command's, wherever they stand; so the help of each command shows them.
    auto shared = [&app] { return CLI::Formatter().make_groups(&app, CLI::AppFormatMode::Normal); };
    auto add = [&](CLI::App& parent, const char* name, const char* help, Verb which) {
        CLI::App* command = parent.add_subcommand(name, help)->fallthrough();
        command->set_help_flag("");  // it is among the shared ones
        command->footer(shared);
        return command->callback([&verb, which] { verb = which; });
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
    app.set_version_flag("--version", "culvert " CULVERT_VERSION);
    add(app, "version", "version of this program", Verb::version);
    add(app, "completion", "completion script for bash", Verb::completion);
    std::vector<std::string> words_given = command_words(count, words);
    std::ranges::reverse(words_given);  // as CLI11 takes them
    try {
        app.parse(words_given);
    } catch (const CLI::ParseError& stop) {
        std::ostringstream out, error;
        int code = app.exit(stop, out, error);
        // A misspelt subcommand is reported as a missing one: name the word that was not understood.
        auto left = app.remaining(true);
        std::string unknown =
            code == 0 || left.empty() ? "" : "culvert: unknown word '" + left.front() + "'\n";
        return std::unexpected(Exit{unknown + out.str() + error.str(), code == 0 ? 0 : 2});
    }
    return command_of(given, verb, app.count("--controller") > 0);
}

std::string completion_script() {
    // The flags of a program are those that its own help names.
    return R"sh(_culvert() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=
  local command=
  case "${COMP_WORDS[1]}" in precheck|uninstall|validate|status) command="${COMP_WORDS[1]}" ;; esac
  local flags="$("$1" $command --help 2>/dev/null </dev/null | grep -oE -- '--[a-z0-9-]+' | sort -u)"
  case "${1##*/} $before" in
    'culvert -o'|'culvert --output') words="table json" ;;
    *' -o'|*' --output') words="text json" ;;
    *' --'*) COMPREPLY=($(compgen -o default -- "$word")); return ;;
    culvert*) case "${COMP_WORDS[1]}" in
        ztunnel-config) words="workload service policy certificate connections $flags" ;;
        *) words="status ztunnel-config version completion help $flags" ;;
      esac ;;
    agent*) words="precheck uninstall version help $flags" ;;
    controller*) words="validate version help $flags" ;;
    ztunnel*) words="proxy version help" ;;
  esac
  case "$before" in validate) COMPREPLY=($(compgen -o default -- "$word")) ;; esac
  COMPREPLY+=($(compgen -W "$words" -- "$word"))
}
complete -F _culvert culvert agent controller ztunnel
)sh";
}

}  // namespace culvert::cli
