// ServiceEntry, with Istio's own checks: what its webhook refuses is refused here with the same meaning.
#include "lib/kube/decode.h"

#include <algorithm>
#include <array>

namespace culvert::kube {
namespace {

bool is_host(std::string_view text) {
    if (text.starts_with("*.")) text.remove_prefix(2);
    return is_dns_name(text, false);
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return text;
}

void read_hosts(Fields& spec, ServiceEntry& entry) {
    for (std::string& host : spec.texts("hosts")) {
        host = lower(std::move(host));
        if (!is_host(host))
            spec.error("hosts", "\"" + host.substr(0, 64) + "\" is no host name");
        else if (std::ranges::find(entry.hosts, host) == entry.hosts.end())
            entry.hosts.push_back(std::move(host));
    }
    if (entry.hosts.empty()) spec.error("hosts", "at least one host is needed");
}

void read_ports(Fields& spec, ServiceEntry& entry) {
    spec.list("ports", [&](Fields& one) {
        EntryPort port{one.required("name"), one.required_port("number"), one.text("protocol"),
                       one.port("targetPort")};
        std::ranges::transform(port.protocol, port.protocol.begin(), [](char c) {
            return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        });
        static constexpr std::array<std::string_view, 12> names{
            "", "HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS", "UDP", "MYSQL", "REDIS"};
        if (std::ranges::find(names, port.protocol) == names.end())
            one.error("protocol", "is none of HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS, UDP");
        for (const EntryPort& other : entry.ports) {
            if (other.port == port.port) one.error("number", "stands here twice");
            if (other.name == port.name) one.error("name", "two ports have this name");
        }
        entry.ports.push_back(std::move(port));
    });
}

void read_endpoint(Fields& one, ServiceEntry& entry) {
    EntryEndpoint endpoint;
    endpoint.address = one.text("address");
    Fields ports = one.map("ports");
    for (const EntryPort& port : entry.ports) {
        // Names of ports are literals of the entry, which outlives `ports`.
        if (const std::uint16_t number = ports.port(port.name)) endpoint.ports[port.name] = number;
    }
    endpoint.labels = one.labels("labels");
    endpoint.network = one.text("network");
    endpoint.locality = one.text("locality");
    endpoint.weight = static_cast<std::uint32_t>(one.number("weight", {0, 1'000'000}).value_or(0));
    endpoint.service_account = one.text("serviceAccount");
    if (!endpoint.service_account.empty() && !is_dns_name(endpoint.service_account, false))
        one.error("serviceAccount", "is no valid name");
    const auto ip = Ip::parse(endpoint.address);
    if (endpoint.address.empty()) {
        if (endpoint.network.empty())
            one.error("address", "is missing", "write an IP address or a host name");
    } else if (endpoint.address.starts_with("unix://")) {
        one.error("address", "a UNIX socket cannot be reached from the mesh");
    } else if (ip && (ip->is_unspecified() || ip->is_loopback())) {
        one.error("address", "must not be loopback or unspecified");
    } else if (!ip && entry.resolution == Resolution::static_) {
        one.error("address", "must be an IP address when resolution is STATIC",
                  "use an address, or resolution: DNS");
    } else if (!ip && !is_dns_name(endpoint.address = lower(endpoint.address), false)) {
        one.error("address", "is neither an IP address nor a host name");
    }
    if (entry.endpoints.size() >= 10'000)
        return one.error("address", "a ServiceEntry has at most 10000 endpoints");
    entry.endpoints.push_back(std::move(endpoint));
}

void check(Fields& spec, const ServiceEntry& entry) {
    const bool wildcard =
        std::ranges::any_of(entry.hosts, [](const auto& host) { return host.starts_with("*."); });
    const bool dns = entry.resolution == Resolution::dns || entry.resolution == Resolution::dns_round_robin;
    if (entry.workload_selector && !entry.endpoints.empty())
        spec.error("endpoints", "stands beside workloadSelector", "use one of the two");
    if (entry.resolution == Resolution::none && !entry.endpoints.empty())
        spec.error("endpoints", "need a resolution", "write resolution: STATIC or DNS");
    if (dns && wildcard && entry.endpoints.empty())
        spec.error("hosts", "a wildcard cannot be resolved by DNS", "name the host, or use resolution: NONE");
    if (entry.resolution == Resolution::static_ && entry.endpoints.empty() && !entry.workload_selector)
        spec.warning("endpoints",
                     "resolution is STATIC, but there are no endpoints: connections will be refused");
    if (entry.ports.empty()) spec.warning("ports", "without ports nothing can be reached");
}

}  // namespace

Object decode_service_entry(Fields& document, Metadata metadata) {
    ServiceEntry entry;
    entry.metadata = std::move(metadata);
    if (!document.has("spec")) document.error("spec", "is missing");
    Fields spec = document.map("spec");
    read_hosts(spec, entry);
    entry.addresses = spec.ranges("addresses");
    read_ports(spec, entry);
    static constexpr std::array<std::string_view, 2> locations{"MESH_EXTERNAL", "MESH_INTERNAL"};
    entry.mesh_internal = spec.choice("location", locations) == 1;
    static constexpr std::array<std::string_view, 5> resolutions{"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN",
                                                                 "DYNAMIC_DNS"};
    entry.resolution = static_cast<Resolution>(spec.choice("resolution", resolutions).value_or(0));
    spec.list("endpoints", [&](Fields& one) { read_endpoint(one, entry); });
    if (spec.has("workloadSelector")) {
        Fields selector = spec.map("workloadSelector");
        entry.workload_selector = selector.labels("labels");
        if (entry.workload_selector->empty()) selector.error("labels", "must name at least one label");
    }
    entry.export_to = spec.texts("exportTo");
    entry.subject_alt_names = spec.texts("subjectAltNames");
    check(spec, entry);

    Fields status = document.map("status");
    status.known({"conditions", "validationMessages", "observedGeneration"});
    status.list("addresses", [&](Fields& one) {
        std::string host = one.text("host");
        if (auto ip = one.address("value")) entry.allocated.emplace_back(std::move(host), *ip);
    });
    return entry;
}

}  // namespace culvert::kube
