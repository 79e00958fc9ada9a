#include "agent/flags.h"

#include "lib/base/words.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <unistd.h>

namespace culvert::agent {
namespace {

constexpr const char* version = "agent (culvert) " CULVERT_VERSION;

constexpr const char* about =
    R"(Node agent of Culvert: decides which pods of this node are in the mesh, captures their connections
with eBPF, and tells the node's ztunnel about them.

Without a command it runs until SIGTERM. Capture stays in place when it ends: connections of
enrolled pods never fall back to clear text. `agent uninstall` takes everything away.)";

constexpr const char* footer =
    R"(A pod is this node's when spec.nodeName is --node-name. It is enrolled when it, or its Namespace object, has
the label istio.io/dataplane-mode: ambient. Its network namespace is /run/netns/NAMESPACE.NAME, or what the
annotation culvert.io/network-namespace names; one that is not there yet is waited for.

The agent must see the host's cgroup2 and keep its mount namespace: start it with `nsenter --net` or
--node-namespace, not with `ip netns exec`, which remounts /sys. Several agents on one machine need their own
--run-dir, --zds-socket, --capture-cgroup and node namespace.

Examples:
  agent --node-name node1 --manifests /etc/culvert/manifests
  agent --node-name node1 --manifests ./mesh --run-dir /run/culvert-node1 \
        --capture-cgroup /sys/fs/cgroup/unified/demo/node1 --node-namespace /run/netns/node1 \
        --controller 10.0.0.1:15012 --token state/node1/token --root-cert state/node1/root-cert.pem
  agent precheck -o json
  agent uninstall --run-dir /run/culvert-node1 --capture-cgroup /sys/fs/cgroup/unified/demo/node1

Status: curl http://127.0.0.1:15019/status   Readiness: /healthz/ready   Metrics: /metrics)";

struct Raw {
    std::string control = "127.0.0.1:15019";
    std::string dns_capture = "true";
    std::string probe_ports = "declared";
    std::string cut = "strict";
    std::string ztunnel_program = "beside";
    std::string output = "text";
    std::vector<std::string> excluded;
    bool no_adopt = false;
};

std::string beside_ourselves(const char* name) {
    std::error_code failed;
    std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
    return failed ? std::string() : (self.parent_path() / name).string();
}

// Where an agent keeps things: what uninstall must know, too.
void add_places(CLI::App& app, Settings& settings) {
    app.add_option("--run-dir", settings.run_directory, "directory for sockets and state; made if missing")
        ->capture_default_str();
    app.add_option(
        "--bpf-dir", settings.bpffs,
        "directory for pinned programs, maps and links; a private BPF file system is mounted there if "
        "it is not on one  [RUN-DIR/bpf]");
    app.add_option(
        "--capture-cgroup", settings.capture_group,
        "cgroup2 directory to which capture is attached: pods, ztunnel and the node's own processes must "
        "all run below it  [the root of cgroup2]");
    app.add_option("--cgroup", settings.ztunnel_group,
                   "ztunnel's own cgroup, its identity towards the kernel; made if missing  "
                   "[CAPTURE-CGROUP/culvert-ztunnel]");
    app.add_option("--zds-socket", settings.zds_path,
                   "socket on which ztunnel is told about pods (INPOD_UDS of ztunnel)")
        ->capture_default_str();
}

void add_peers(CLI::App& app, Settings& settings, Raw& raw) {
    app.add_option(
        "--pods-cgroup", settings.pod_groups,
        "a cgroup below which pods' processes run: their sockets in the node's namespace are no node probes "
        "(may be repeated)");
    app.add_option("--node-namespace", settings.node_namespace,
                   "the node's network namespace, as a path  [the agent's own]");
    app.add_option("--ztunnel-program", raw.ztunnel_program,
                   "the only program that may connect there, as a path; `any`: any of the agent's user  "
                   "[`ztunnel` beside the agent's own program]");
    app.add_flag("--no-adopt-ztunnel", raw.no_adopt,
                 "refuse a ztunnel that is not in its cgroup yet, instead of moving it there");
    app.add_option("--controller", settings.controller,
                   "HOST:PORT of the controller, which is told who is enrolled; without it nobody is");
    app.add_option("--controller-name", settings.controller_name,
                   "name in the controller's certificate  [HOST]");
    app.add_option("--token", settings.token, "file with this node's token (STATE/nodes/NODE/token)");
    app.add_option("--root-cert", settings.root_certificate,
                   "file with the controller's root certificates (STATE/nodes/NODE/root-cert.pem)");
    app.add_option("--control", raw.control, "ADDRESS:PORT for /status, /healthz/ready and /metrics")
        ->capture_default_str();
}

void add_policy(CLI::App& app, Settings& settings, Raw& raw) {
    app.add_option("--node-name", settings.node_name,
                   "this node's name: the pods whose spec.nodeName it is are ours")
        ->envname("NODE_NAME");
    app.add_option("--manifests", settings.manifests,
                   "directory of YAML manifests with Pod and Namespace objects");
    app.add_option("--root-namespace", settings.root_namespace, "where mesh-wide policies live")
        ->capture_default_str();
    app.add_option("--exclude-namespace", raw.excluded,
                   "a namespace whose pods are never enrolled (may be repeated)");
    app.add_option("--dns-capture", raw.dns_capture,
                   "whether DNS goes to ztunnel; the annotation ambient.istio.io/dns-capture overrides it")
        ->check(CLI::IsMember({"true", "false"}))
        ->capture_default_str();
    app.add_option(
           "--probe-ports", raw.probe_ports,
           "to which ports of an enrolled pod the node's own processes connect directly: those that the pod "
           "declares for probes and lifecycle hooks, or all")
        ->check(CLI::IsMember({"declared", "all"}))
        ->capture_default_str();
    app.add_option(
           "--cut-connections", raw.cut,
           "connections that a pod had before it was enrolled are in clear text: destroy them where STRICT "
           "applies, always, or never; others are counted and shown")
        ->check(CLI::IsMember({"strict", "always", "never"}))
        ->capture_default_str();
    app.add_option("--log", settings.log_filter, "log filter: `info`, or `info,zds=debug`")
        ->capture_default_str();
    app.add_flag("--log-json", settings.log_json, "log lines as JSON");
}

Result<Done> complete(Settings& settings, const Raw& raw) {
    std::optional<Address> control = Address::parse_flag(raw.control);
    if (!control)
        return refuse(Reason::bad_configuration, "--control: " + raw.control + " is no ADDRESS:PORT");
    settings.control = *control;
    if (settings.bpffs.empty()) settings.bpffs = settings.run_directory + "/bpf";
    if (raw.ztunnel_program == "beside") {
        settings.ztunnel_program = beside_ourselves("ztunnel");
    } else if (raw.ztunnel_program != "any") {
        std::error_code failed;
        std::filesystem::path real = std::filesystem::canonical(raw.ztunnel_program, failed);
        if (failed)
            return refuse(Reason::bad_configuration, "--ztunnel-program: no file " + raw.ztunnel_program);
        settings.ztunnel_program = real.string();
    }
    settings.adopt_ztunnel = !raw.no_adopt;
    settings.membership.dns_capture = raw.dns_capture == "true";
    settings.membership.excluded_namespaces = {raw.excluded.begin(), raw.excluded.end()};
    settings.probe_all_ports = raw.probe_ports == "all";
    settings.sweeping = raw.cut == "always"  ? Sweeping::always
                        : raw.cut == "never" ? Sweeping::never
                                             : Sweeping::strict;
    if (settings.command != Command::run) return Done{};
    if (settings.node_name.empty())
        return refuse(Reason::bad_configuration, "--node-name (or NODE_NAME) is needed");
    if (settings.manifests.empty())
        return refuse(Reason::bad_configuration, "--manifests is needed: a directory");
    if (!settings.controller.empty() && (settings.token.empty() || settings.root_certificate.empty()))
        return refuse(Reason::bad_configuration,
                      "--controller needs --token and --root-cert: the controller makes both files for each "
                      "Node, in STATE/nodes/NODE");
    return Done{};
}

void make_absolute(std::string& path) {
    std::error_code failed;
    if (!path.empty()) path = std::filesystem::absolute(path, failed).lexically_normal().string();
}

}  // namespace

Result<Settings> parse_flags(int argc, const char* const* argv) {
    Settings settings;
    settings.run_directory = "/run/culvert";
    settings.zds_path = "/var/run/ztunnel/ztunnel.sock";
    settings.root_namespace = "istio-system";
    settings.log_filter = "info";
    Raw raw;
    try {
        CLI::App app(about, "agent");
        app.footer(footer);
        app.fallthrough();
        app.get_formatter()->column_width(34);
        app.set_version_flag("--version", version);
        app.add_subcommand("version", "print the version and leave")->callback([] {
            throw CLI::CallForVersion(version, 0);
        });
        CLI::App* precheck =
            app.add_subcommand("precheck", "say which kernel feature or privilege is missing, and the fix");
        precheck->add_option("-o,--output", raw.output, "how to say it")
            ->check(CLI::IsMember({"text", "json"}))
            ->capture_default_str();
        CLI::App* uninstall = app.add_subcommand(
            "uninstall", "release every pod and remove what the agent left: pins, cgroup, directories");
        add_places(*uninstall, settings);
        uninstall->add_flag("--force", settings.force, "although an agent lives on that --run-dir");
        app.require_subcommand(0, 1);
        add_policy(app, settings, raw);
        add_places(app, settings);
        add_peers(app, settings, raw);
        std::vector<std::string> words = command_words(argc, argv);
        std::ranges::reverse(words);  // as CLI11 takes them
        try {
            app.parse(words);
        } catch (const CLI::Success& asked) {
            app.exit(asked, std::cout, std::cerr);
            settings.command = Command::nothing;
            return settings;
        }
        settings.json = raw.output == "json";
        if (precheck->parsed()) settings.command = Command::precheck;
        if (uninstall->parsed()) settings.command = Command::uninstall;
    } catch (const CLI::Error& wrong) {
        return refuse(Reason::bad_configuration,
                      std::string(wrong.what()) + " (agent --help lists the flags)");
    }
    for (std::string* path :
         {&settings.run_directory, &settings.bpffs, &settings.zds_path, &settings.manifests,
          &settings.node_namespace, &settings.token, &settings.root_certificate})
        make_absolute(*path);
    if (Result<Done> done = complete(settings, raw); !done) return refuse(std::move(done));
    return settings;
}

}  // namespace culvert::agent
