// What ztunnel is told at start: the environment with Istio's names (wire.md 8.1) and a few of our own
// (CULVERT_*), as a value. A malformed value is an error that names the variable, the value and the fix; main
// prints it and exits with 1.
#pragma once
#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/tls/credentials.h"
#include "lib/xds/grpc_client.h"
#include "lib/xds/node.h"
#include "ztunnel/settings.h"
#include "ztunnel/worker.h"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace culvert::ztunnel {

struct Config {
    Settings settings;
    DoorSettings doors;
    xds::Endpoint discovery;
    xds::Endpoint authority;
    xds::NodeFacts node_facts;
    std::chrono::seconds secret_ttl = std::chrono::hours(24);
    tls::Profile profile;
    std::string zds_path = "/var/run/ztunnel/ztunnel.sock";
    unsigned workers = 2;
    Duration drain = std::chrono::seconds(5);
    Address admin, stats, readiness;
    log::Options log;
};

using Environment = std::map<std::string, std::string, std::less<>>;

struct Machine {
    unsigned cpus = 1;
    std::string resolv_conf;  // the text of /etc/resolv.conf
};

Result<Config> read_config(const Environment& environment, const Machine& machine);
// Every variable with its default and what it means: `ztunnel help`.
std::string config_help();

Environment environment_of(const char* const* entries);         // of main's environ
unsigned worker_threads(std::string_view text, unsigned cpus);  // "2", "50%", "0"; 0: malformed

}  // namespace culvert::ztunnel
