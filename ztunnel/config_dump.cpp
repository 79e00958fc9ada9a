#include "ztunnel/config_dump.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace culvert::ztunnel {
namespace {

using Json = nlohmann::ordered_json;

// Default-valued optional members are left out.
void put(Json& to, const char* name, const std::string& value) {
    if (!value.empty()) to[name] = value;
}

Json gateway(const mesh::GatewayAddress& address) {
    return {{"destination", address.destination_text()}, {"hboneMtlsPort", address.hbone_mtls_port}};
}

Json ports_of(const mesh::Ports& ports) {
    Json out = Json::object();
    for (const mesh::Port& port : ports) out[std::to_string(port.service_port)] = port.target_port;
    return out;
}

const char* word_of(mesh::WorkloadType type) {
    switch (type) {
    case mesh::WorkloadType::deployment: return "deployment";
    case mesh::WorkloadType::cronjob: return "cronjob";
    case mesh::WorkloadType::pod: return "pod";
    case mesh::WorkloadType::job: return "job";
    }
    return "";
}

void put_rare(Json& out, const mesh::Workload& workload) {
    if (workload.native_tunnel) out["nativeTunnel"] = true;
    if (workload.waypoint) out["waypoint"] = gateway(*workload.waypoint);
    if (workload.network_gateway) out["networkGateway"] = gateway(*workload.network_gateway);
    if (workload.application_tunnel)
        out["applicationTunnel"] = {
            {"protocol", workload.application_tunnel->protocol == mesh::ApplicationTunnel::Protocol::proxy
                             ? "PROXY"
                             : "NONE"},
            {"port", workload.application_tunnel->port}};
    Json locality = Json::object();
    put(locality, "region", workload.locality.region);
    put(locality, "zone", workload.locality.zone);
    put(locality, "subzone", workload.locality.subzone);
    if (!locality.empty()) out["locality"] = locality;
}

Json workload_json(const mesh::Workload& workload) {
    Json out;
    out["uid"] = workload.uid;
    out["workloadIps"] = Json::array();
    for (Ip ip : workload.addresses) out["workloadIps"].push_back(ip.to_string());
    put(out, "hostname", workload.hostname);
    out["protocol"] = workload.tunnel_protocol == mesh::TunnelProtocol::hbone ? "HBONE" : "TCP";
    out["networkMode"] =
        workload.network_mode == mesh::NetworkMode::host_network ? "HostNetwork" : "Standard";
    out["name"] = workload.name;
    out["namespace"] = workload.name_space;
    put(out, "network", workload.network);
    put(out, "trustDomain", workload.trust_domain == "cluster.local" ? "" : workload.trust_domain);
    out["serviceAccount"] = workload.service_account;
    put(out, "workloadName", workload.workload_name);
    out["workloadType"] = word_of(workload.type);
    put(out, "canonicalName", workload.canonical_name);
    put(out, "canonicalRevision", workload.canonical_revision);
    put(out, "node", workload.node);
    put_rare(out, workload);
    if (!workload.authorization_policies.empty())
        out["authorizationPolicies"] = workload.authorization_policies;
    out["status"] = workload.health == mesh::Health::healthy ? "Healthy" : "Unhealthy";
    out["clusterId"] = workload.cluster_id;
    for (const auto& [key, ports] : workload.services) out["services"].push_back(key.to_string());
    out["capacity"] = workload.capacity;
    return out;
}

const char* word_of(mesh::LoadBalancingScope scope) {
    switch (scope) {
    case mesh::LoadBalancingScope::region: return "Region";
    case mesh::LoadBalancingScope::zone: return "Zone";
    case mesh::LoadBalancingScope::subzone: return "Subzone";
    case mesh::LoadBalancingScope::node: return "Node";
    case mesh::LoadBalancingScope::cluster: return "Cluster";
    case mesh::LoadBalancingScope::network: return "Network";
    }
    return "";
}

const char* word_of(mesh::LoadBalancingMode mode) {
    switch (mode) {
    case mesh::LoadBalancingMode::unspecified: return "Standard";
    case mesh::LoadBalancingMode::strict: return "Strict";
    case mesh::LoadBalancingMode::failover: return "Failover";
    case mesh::LoadBalancingMode::passthrough: return "Passthrough";
    }
    return "";
}

void put_balancing(Json& out, const mesh::LoadBalancing& balancing) {
    if (balancing == mesh::LoadBalancing{}) return;
    Json preferences = Json::array();
    for (auto scope : balancing.preferences) preferences.push_back(word_of(scope));
    out["loadBalancer"] = {
        {"routingPreferences", preferences},
        {"mode", word_of(balancing.mode)},
        {"healthPolicy", balancing.health == mesh::HealthPolicy::allow_all ? "AllowAll" : "OnlyHealthy"}};
}

Json service_json(const mesh::ServiceRecord& record) {
    const mesh::Service& service = *record.value;
    Json out;
    out["name"] = service.name;
    out["namespace"] = service.name_space;
    out["hostname"] = service.hostname;
    out["vips"] = Json::array();
    for (const mesh::Vip& vip : service.vips) {
        if (vip.exact())
            out["vips"].push_back(vip.to_string());
        else
            out["cidrVips"].push_back({{"network", vip.network}, {"cidr", vip.range.to_string()}});
    }
    out["ports"] = ports_of(service.ports);
    out["endpoints"] = Json::object();
    record.endpoints.for_each([&](const mesh::WorkloadPtr& workload) {
        const mesh::Ports* ports = workload->service_ports(record.key);
        Json endpoint{{"workloadUid", std::string(workload->uid())}};
        endpoint["port"] = ports ? ports_of(*ports) : Json::object();
        endpoint["status"] = workload->health() == mesh::Health::healthy ? "Healthy" : "Unhealthy";
        out["endpoints"][std::string(workload->uid())] = endpoint;
    });
    if (!service.subject_alt_names.empty()) out["subjectAltNames"] = service.subject_alt_names;
    if (service.waypoint) out["waypoint"] = gateway(*service.waypoint);
    for (const mesh::WeightedWaypoint& each : service.weighted_waypoints)
        out["weightedWaypoints"].push_back(
            {{"destination", gateway(each.destination)}, {"weight", each.weight}});
    put_balancing(out, service.balancing);
    if (service.canonical) out["canonical"] = true;
    out["visibility"] = service.visibility == mesh::Visibility::everyone ? "Public" : "Namespace";
    return out;
}

Json match_text(const mesh::StringMatch& match) {
    switch (match.kind) {
    case mesh::StringMatch::Kind::exact: return {{"Exact", match.value}};
    case mesh::StringMatch::Kind::prefix: return {{"Prefix", match.value}};
    case mesh::StringMatch::Kind::suffix: return {{"Suffix", match.value}};
    case mesh::StringMatch::Kind::presence: return {{"Presence", Json::object()}};
    case mesh::StringMatch::Kind::malformed: break;
    }
    return {{"Malformed", Json::object()}};
}
Json match_text(const mesh::IpMatch& match) {
    return match.malformed ? Json("malformed") : Json(match.range.to_string());
}
Json match_text(const mesh::PortMatch& match) { return match.port; }
Json match_text(const mesh::ServiceAccountMatch& match) {
    return match.name_space + "/" + match.service_account;
}

template <class T> void put_field(Json& to, const std::string& name, const mesh::Field<T>& field) {
    std::string negative = "not" + std::string(1, static_cast<char>(std::toupper(name[0]))) + name.substr(1);
    for (const T& each : field.any_of) to[name].push_back(match_text(each));
    for (const T& each : field.none_of) to[negative].push_back(match_text(each));
}

Json match_json(const mesh::Match& match) {
    Json out = Json::object();
    put_field(out, "namespaces", match.namespaces);
    put_field(out, "serviceAccounts", match.service_accounts);
    put_field(out, "principals", match.principals);
    put_field(out, "sourceIps", match.source_ips);
    put_field(out, "destinationIps", match.destination_ips);
    put_field(out, "destinationPorts", match.destination_ports);
    return out;
}

Json policy_json(const mesh::Policy& policy) {
    constexpr const char* scopes[] = {"Global", "Namespace", "WorkloadSelector"};
    Json out{{"name", policy.name},
             {"namespace", policy.name_space},
             {"scope", scopes[static_cast<int>(policy.scope)]}};
    out["action"] = policy.action == mesh::PolicyAction::allow ? "Allow" : "Deny";
    out["rules"] = Json::array();
    for (const mesh::Rule& rule : policy.rules) {
        Json clauses = Json::array();
        for (const mesh::Clause& clause : rule.clauses) {
            Json matches = Json::array();
            for (const mesh::Match& match : clause.matches) matches.push_back(match_json(match));
            clauses.push_back(matches);
        }
        out["rules"].push_back(clauses);
    }
    if (policy.dry_run) out["dryRun"] = true;
    return out;
}

std::string base64(std::string_view text) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 3) {
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i)
            group = group << 8 | (at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u);
        for (std::size_t i = 0; i < 4; ++i)
            out += at + i > text.size() ? '=' : digits[group >> (18 - 6 * i) & 63];
    }
    return out;
}

Json certificates_json(const std::vector<tls::CertificateInfo>& certificates) {
    Json out = Json::array();
    for (const tls::CertificateInfo& each : certificates)
        out.push_back({{"pem", base64(each.pem)},
                       {"serialNumber", each.serial},
                       {"validFrom", tls::to_rfc3339(each.not_before)},
                       {"expirationTime", tls::to_rfc3339(each.not_after)}});
    return out;
}

Json certificate_json(const CertificateLine& line) {
    Json out{{"identity", line.identity}, {"state", line.state}};
    out["certChain"] = line.credential ? certificates_json(line.credential->chain()) : Json::array();
    out["rootCerts"] = line.credential ? certificates_json(line.credential->roots()) : Json::array();
    return out;
}

Json pod_state(const PodInfo& pod, const std::vector<ConnectionLine>& connections) {
    Json inbound = Json::array(), outbound = Json::array();
    for (const ConnectionLine& each : connections) {
        if (each.pod_uid != pod.uid) continue;
        Json line{{"src", each.source.to_string()},
                  {"originalDst", each.original_destination.to_string()},
                  {"actualDst", each.next_hop.to_string()},
                  {"protocol", std::string(word(each.protocol))}};
        (each.direction == Direction::inbound ? inbound : outbound).push_back(line);
    }
    return {{"state", "Up"},
            {"connections", {{"inbound", inbound}, {"outbound", outbound}}},
            {"info",
             {{"name", pod.name}, {"namespace", pod.name_space}, {"serviceAccount", pod.service_account}}}};
}

void put_directory(Json& out, const mesh::Directory& directory) {
    directory.for_each_workload(
        [&](const mesh::WorkloadPtr& each) { out["workloads"].push_back(workload_json(each->value())); });
    directory.for_each_service([&](const mesh::ServicePtr& each) {
        if (each->value)
            out["services"].push_back(service_json(*each));
        else
            out["stagedServices"][each->key.to_string()] = Json::object();
    });
    directory.for_each_policy(
        [&](const mesh::PolicyPtr& each) { out["policies"].push_back(policy_json(each->value)); });
}

void sort_by(Json& rows, const char* member) {
    std::sort(rows.begin(), rows.end(),
              [member](const Json& a, const Json& b) { return a[member] < b[member]; });
}

}  // namespace

std::string config_dump(const DumpInput& input) {
    Json out;
    for (auto name : {"workloads", "services", "policies"}) out[name] = Json::array();
    out["stagedServices"] = Json::object();
    if (input.directory) put_directory(out, *input.directory);
    sort_by(out["workloads"], "uid");
    sort_by(out["services"], "hostname");
    sort_by(out["policies"], "name");
    out["staticConfig"] = Json::object();
    out["version"] = {{"version", CULVERT_VERSION}, {"cryptoProvider", "openssl"}};
    out["config"] = Json::object();
    for (const auto& [name, value] : input.config) out["config"][name] = value;
    out["certificates"] = Json::array();
    for (const CertificateLine& each : input.certificates)
        out["certificates"].push_back(certificate_json(each));
    out["workloadState"] = Json::object();
    for (const auto& pod : input.pods) out["workloadState"][pod->uid] = pod_state(*pod, input.connections);
    out["refusals"] = Json::object();
    for (const auto& [reason, count] : input.refusals) out["refusals"][reason] = count;
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace culvert::ztunnel
