#include "cli/ztunnel_config.h"

#include "cli/table.h"

namespace culvert::cli {
namespace {

std::string joined(const std::vector<Json>& items) {
    std::string out;
    for (const Json& item : items) out += (out.empty() ? "" : ",") + item.text();
    return out;
}

// "network/address"; the network is mostly the nameless one, which says nothing.
std::string vips_of(const Json& service) {
    std::string out;
    for (const Json& vip : service["vips"].items()) {
        std::string text = vip.text();
        out += (out.empty() ? "" : ",") + text.substr(text.starts_with('/') ? 1 : 0);
    }
    return out;
}

std::string ports_of(const Json& service) {
    std::string out;
    Json ports = service["ports"];
    for (const std::string& port : ports.keys())
        out += (out.empty() ? "" : ",") + port + "->" + ports[port].text();
    return out;
}

void add_connections(Table& table, const Json& pod, std::string_view direction) {
    Json info = pod["info"];
    for (const Json& connection : pod["connections"][direction].items())
        table.add({info["namespace"].text() + "/" + info["name"].text(), std::string(direction),
                   connection["src"].text(), connection["originalDst"].text(), connection["actualDst"].text(),
                   connection["protocol"].text()});
}

}  // namespace

std::string workload_table(const Json& dump) {
    Table table({"NAMESPACE", "POD", "ADDRESSES", "NODE", "IDENTITY", "PROTOCOL", "STATUS"});
    for (const Json& workload : dump["workloads"].items()) {
        std::string domain =
            workload["trustDomain"].empty() ? "cluster.local" : workload["trustDomain"].text();
        std::string account =
            workload["serviceAccount"].empty() ? "default" : workload["serviceAccount"].text();
        table.add({workload["namespace"].text(), workload["name"].text(),
                   joined(workload["workloadIps"].items()), workload["node"].text(),
                   domain + "/ns/" + workload["namespace"].text() + "/sa/" + account,
                   workload["protocol"].text(), workload["status"].text()});
    }
    return table.to_string();
}

std::string service_table(const Json& dump) {
    Table table({"NAMESPACE", "SERVICE", "HOSTNAME", "VIPS", "PORTS", "ENDPOINTS"});
    for (const Json& service : dump["services"].items())
        table.add({service["namespace"].text(), service["name"].text(), service["hostname"].text(),
                   vips_of(service), ports_of(service), std::to_string(service["endpoints"].items().size())});
    return table.to_string();
}

std::string policy_table(const Json& dump) {
    Table table({"NAMESPACE", "POLICY", "ACTION", "SCOPE", "RULES"});
    for (const Json& policy : dump["policies"].items())
        table.add({policy["namespace"].text(), policy["name"].text(), policy["action"].text(),
                   policy["scope"].text(), std::to_string(policy["rules"].items().size())});
    return table.to_string();
}

std::string certificate_table(const Json& dump) {
    Table table({"IDENTITY", "STATE", "SERIAL NUMBER", "VALID FROM", "EXPIRES"});
    for (const Json& certificate : dump["certificates"].items()) {
        auto chain = certificate["certChain"].items();
        Json leaf = chain.empty() ? Json() : chain.front();
        table.add({certificate["identity"].text(), certificate["state"].text(), leaf["serialNumber"].text(),
                   leaf["validFrom"].text(), leaf["expirationTime"].text()});
    }
    return table.to_string();
}

std::string connection_table(const Json& dump) {
    Table table({"POD", "DIRECTION", "FROM", "ASKED FOR", "WENT TO", "PROTOCOL"});
    for (const Json& pod : dump["workloadState"].items()) {
        add_connections(table, pod, "inbound");
        add_connections(table, pod, "outbound");
    }
    return table.to_string();
}

}  // namespace culvert::cli
