// /config_dump (wire fact A-5): what this ztunnel believes, as the JSON that istioctl and `culvert
// ztunnel-config` read, and "refusals", which only `culvert status` does. Pure; the one adapter of
// nlohmann-json here. Secrets are not in it: credentials show their certificates only.
#pragma once
#include "lib/mesh/directory.h"
#include "ztunnel/certs.h"
#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

#include <map>
#include <string>
#include <vector>

namespace culvert::ztunnel {

struct DumpInput {
    mesh::DirectoryPtr directory;  // null: nothing has arrived
    std::vector<CertificateLine> certificates;
    std::vector<std::shared_ptr<const PodInfo>> pods;
    std::vector<ConnectionLine> connections;
    std::map<std::string, std::uint64_t> refusals;            // by reason, of all pods
    std::vector<std::pair<std::string, std::string>> config;  // names and values, without secrets
};

std::string config_dump(const DumpInput& input);

}  // namespace culvert::ztunnel
