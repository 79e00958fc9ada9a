#include "controller/flags.h"

#include "lib/base/ip.h"
#include "lib/base/words.h"
#include "lib/mesh/identity.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <sstream>

namespace culvert::controller {
namespace {

constexpr const char* version = "controller (culvert) " CULVERT_VERSION;

constexpr const char* about =
    "The controller of a Culvert mesh: reads objects, tells every node who is where and what is allowed,\n"
    "and signs certificates.\n"
    "\n"
    "  controller --manifests ./mesh --state-dir /var/lib/culvert --serving-name controller.example\n"
    "\n"
    "Manifests are Kubernetes and Istio objects as YAML: Namespace, Node, Pod, Service, EndpointSlice, "
    "ServiceEntry,\n"
    "AuthorizationPolicy, PeerAuthentication. They are watched: a changed file is in force at once, a bad "
    "one leaves\n"
    "its last good objects in force and shows in http://localhost:15014/status.\n"
    "\n"
    "For each Node the directory STATE/nodes/NAME holds the token and the root certificate with which that "
    "node's\n"
    "agent and ztunnel connect; copy it there. The state directory holds the mesh's root key: keep it.";

// What is wrong with a value, or nothing. The value becomes what the rest of the program expects.
std::string check_listen(std::string& text) {
    auto address = Address::parse_flag(text);
    if (!address) return "'" + text + "' is no ADDRESS:PORT, such as 127.0.0.1:15012 or [::]:15012";
    text = address->to_string();
    return {};
}

std::string check_trust_domain(const std::string& text) {
    return mesh::is_trust_domain(text) ? "" : "'" + text + "' is no trust domain: a-z, 0-9, '.', '-' and '_'";
}

std::string check_name(const std::string& text) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    return !text.empty() && text.find_first_not_of(allowed) == text.npos ? ""
                                                                         : "'" + text + "' is no DNS name";
}

void add_serve(CLI::App& app, Command& command) {
    Options& o = command.options;
    const auto listen = CLI::Validator(check_listen, "ADDRESS:PORT");
    const auto name = CLI::Validator([](std::string& text) { return check_name(text); }, "NAME");
    const auto trust_domain =
        CLI::Validator([](std::string& text) { return check_trust_domain(text); }, "DOMAIN");
    app.add_option("--manifests", o.manifests, "directory of manifests (*.yaml, *.yml, *.json)")
        ->capture_default_str();
    app.add_option("--state-dir", o.state_dir, "root key, node tokens, enrolments; made with mode 0700")
        ->capture_default_str();
    app.add_option("--listen", o.listen, "address of discovery, certificates and reports (gRPC with TLS)")
        ->transform(listen)
        ->capture_default_str();
    app.add_option("--status", o.status,
                   "address of /status, /metrics and /healthz/ready; [::]:15014 for nodes and scrapers "
                   "elsewhere, which anybody who reaches it may read then")
        ->transform(listen)
        ->capture_default_str();
    app.add_option("--serving-name", o.serving_names,
                   "DNS name or IP address by which nodes reach us, for our certificate; repeatable");
    app.add_option("--cluster-id", o.mesh.cluster_id, "name of this cluster in workload ids")
        ->capture_default_str();
    app.add_option("--cluster-domain", o.mesh.cluster_domain, "services are NAME.NAMESPACE.svc.DOMAIN")
        ->check(name)
        ->capture_default_str();
    app.add_option("--trust-domain", o.mesh.trust_domain,
                   "identities are spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
        ->check(trust_domain)
        ->capture_default_str();
    app.add_option("--root-namespace", o.mesh.root_namespace,
                   "policies here without a selector hold for the whole mesh")
        ->check(name)
        ->capture_default_str();
    app.add_option("--network", o.mesh.network, "network that the pods are on; empty: the default one");
    app.add_flag("--l7-fail-open", o.mesh.l7_fail_open,
                 "serve at L4 what has a policy that only a waypoint can enforce; by default it is refused");
    app.add_option("--log", command.log_filter, "log level, \"info\" or \"info,xds=debug\"")
        ->capture_default_str();
    app.add_flag("--log-json", command.log_json, "log as JSON");
}

}  // namespace

std::expected<Command, Exit> parse_command(int count, const char* const* words) {
    Command command;
    CLI::App app(about, "controller");
    app.set_help_flag("-h,--help", "print this and leave");
    app.set_version_flag("--version", version);
    add_serve(app, command);
    std::string output = "text";
    CLI::App* validate =
        app.add_subcommand("validate", "read manifests, print what is wrong or probably not meant, exit 1 if "
                                       "anything is wrong; the flags of the mesh go in front");
    validate
        ->add_option("path", command.manifests, "directory of manifests, one file, or - for standard input")
        ->required();
    validate->add_option("-o,--output", output, "form of the answer")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    app.add_subcommand("version", "print the version and leave")->callback([] {
        throw CLI::CallForVersion(version, 0);
    });
    std::vector<std::string> given = command_words(count, words);
    std::ranges::reverse(given);  // as CLI11 takes them
    try {
        app.parse(given);
    } catch (const CLI::ParseError& error) {
        std::ostringstream out, err;
        const int code = app.exit(error, out, err);
        return std::unexpected(code == 0 ? Exit{out.str(), 0} : Exit{"controller: " + err.str(), 2});
    }
    if (validate->parsed()) command.verb = Command::Verb::validate;
    command.json = output == "json";
    return command;
}

}  // namespace culvert::controller
