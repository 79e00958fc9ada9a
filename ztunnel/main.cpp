// ztunnel: environment -> Node -> run until told to end.
#include "lib/base/log.h"
#include "lib/tls/token.h"
#include "ztunnel/config.h"
#include "ztunnel/node.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>

using namespace culvert;

namespace {

constexpr const char* usage =
    R"(ztunnel, Culvert's node proxy: carries the connections of this node's enrolled pods in mTLS tunnels.

  ztunnel [proxy]     run; configured by the environment
  ztunnel help        this text
  ztunnel version     the version

The agent of the node names the pods (INPOD_UDS), the controller all else (XDS_ADDRESS, CA_ADDRESS).
SIGTERM drains.

Environment:
)";

int fail(const Error& error) {
    std::fprintf(stderr, "ztunnel: %s\n", error.to_string().c_str());
    return 1;
}

sigset_t ending_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

// A second signal while draining ends the process at once (wire.md 9).
void leave_at_once(int) { _exit(130); }

// The controller would refuse every certificate, and nobody would know why.
void compare_names(const std::string& node, const std::string& given) {
    std::ifstream file(given);
    const std::string token = file ? std::string(std::istreambuf_iterator<char>(file), {}) : given;
    const auto named = tls::node_of_unverified(token);
    if (!named || *named == node) return;
    log::warn("ztunnel", "NODE_NAME is not the node of AUTH_TOKEN: its pods will get no certificates",
              {log::text("NODE_NAME", node), log::text("token_of", *named)});
}

int run() {
    // Keys are in this process's memory: no core dump, no ptrace by others (S23).
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    sigset_t ending = ending_signals();
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before any thread: all inherit it

    std::ifstream file("/etc/resolv.conf");
    std::string resolv_conf{std::istreambuf_iterator<char>(file), {}};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    auto config =
        ztunnel::read_config(ztunnel::environment_of(environ),
                             {.cpus = static_cast<unsigned>(cpus), .resolv_conf = std::move(resolv_conf)});
    if (!config) return fail(config.error());
    if (auto logging = log::start(config->log); !logging) return fail(logging.error());
    compare_names(config->settings.node, config->discovery.token);
    auto node = ztunnel::Node::make(*std::move(config));
    if (!node) return fail(node.error());
    if (auto started = (*node)->start(); !started) return fail(started.error());

    int which = 0;
    sigwait(&ending, &which);
    signal(SIGINT, leave_at_once);
    pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);
    signal(SIGTERM, SIG_IGN);
    (*node)->drain_and_stop();
    node->reset();
    log::stop();
    return 0;
}

}  // namespace

int main(int count, char** words) {
    std::string_view verb = count > 1 ? words[1] : "proxy";
    if (verb == "proxy") return run();
    if (verb == "version" || verb == "--version") return std::puts("ztunnel (culvert) " CULVERT_VERSION) < 0;
    if (verb == "help" || verb == "--help" || verb == "-h")
        return std::printf("%s%s", usage, ztunnel::config_help().c_str()) < 0;
    std::fprintf(stderr, "ztunnel: unknown word '%s'; see 'ztunnel help'\n", words[1]);
    return 1;
}
