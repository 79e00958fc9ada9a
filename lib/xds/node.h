// What a node proxy says of itself, from the facts of its environment. Pure.
#pragma once
#include "lib/base/result.h"
#include "lib/xds/messages.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert::xds {

struct NodeFacts {
    std::string instance_ip;  // INSTANCE_IP; empty: 1.1.1.1
    std::string pod_name;
    std::string pod_namespace;
    std::string node_name;
    std::vector<std::pair<std::string, std::string>> proxy_metadata;  // ProxyConfig's
    // The whole environment, or as much of it as matters: ISTIO_META_* and ISTIO_METAJSON_* are taken.
    std::vector<std::pair<std::string, std::string>> environment;
};

// Refuses ISTIO_METAJSON_* that is no JSON with bad_configuration.
Result<Node> proxy_node(const NodeFacts& facts);

}  // namespace culvert::xds
