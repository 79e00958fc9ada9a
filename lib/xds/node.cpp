#include "lib/xds/node.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

namespace culvert::xds {

Result<Node> proxy_node(const NodeFacts& facts) {
    const std::string ip = facts.instance_ip.empty() ? "1.1.1.1" : facts.instance_ip;
    Node node;
    node.id = "ztunnel~" + ip + "~" + facts.pod_name + "." + facts.pod_namespace + "~" + facts.pod_namespace +
              ".svc.cluster.local";
    auto& metadata = node.metadata;
    metadata["NAME"] = {facts.pod_name, false};
    metadata["NAMESPACE"] = {facts.pod_namespace, false};
    metadata["INSTANCE_IPS"] = {ip, false};
    metadata["NODE_NAME"] = {facts.node_name, false};
    for (const auto& [name, value] : facts.proxy_metadata) metadata[name] = {value, false};
    constexpr std::string_view text_prefix = "ISTIO_META_";
    constexpr std::string_view json_prefix = "ISTIO_METAJSON_";
    for (const auto& [name, value] : facts.environment) {
        if (name.starts_with(text_prefix)) metadata[name.substr(text_prefix.size())] = {value, false};
        if (!name.starts_with(json_prefix)) continue;
        google::protobuf::Value parsed;
        if (!google::protobuf::util::JsonStringToMessage(value, &parsed).ok())
            return refuse(Reason::bad_configuration, name + " is no JSON: " + value);
        metadata[name.substr(json_prefix.size())] = {value, true};
    }
    return node;
}

}  // namespace culvert::xds
