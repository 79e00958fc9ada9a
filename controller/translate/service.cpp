#include "controller/translate/service.h"

#include "controller/translate/entry.h"

#include <algorithm>
#include <array>

namespace culvert::controller::translate {
namespace {

using Scope = mesh::LoadBalancingScope;

bool same_word(std::string_view a, std::string_view b) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::ranges::equal(a, b, {}, lower, lower);
}

mesh::IpFamilies families(kube::IpFamilies families) {
    switch (families) {
    case kube::IpFamilies::automatic: return mesh::IpFamilies::automatic;
    case kube::IpFamilies::ipv4: return mesh::IpFamilies::v4_only;
    case kube::IpFamilies::ipv6: return mesh::IpFamilies::v6_only;
    case kube::IpFamilies::dual: return mesh::IpFamilies::dual;
    }
    return mesh::IpFamilies::automatic;
}

// A named target is known by the endpoints only: 0 (O-19). None given: the port's own number, as Kubernetes
// defaults it.
std::uint16_t target(const kube::ServicePort& port) {
    if (std::holds_alternative<std::string>(port.target)) return 0;
    const auto* number = std::get_if<std::uint16_t>(&port.target);
    return number ? *number : port.port;
}

std::vector<std::string> words(std::string_view list) {
    std::vector<std::string> out;
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        std::string_view one = list.substr(0, comma);
        while (one.starts_with(' ')) one.remove_prefix(1);
        while (one.ends_with(' ')) one.remove_suffix(1);
        if (!one.empty()) out.emplace_back(one);
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return out;
}

}  // namespace

std::string_view value_of(const kube::Labels& labels, std::string_view name) {
    auto found = labels.find(name);
    return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

bool known_distribution(std::string_view value) {
    static constexpr std::array<std::string_view, 4> known{"PreferClose", "PreferSameZone", "PreferSameNode",
                                                           "Any"};
    return std::ranges::any_of(known, [&](std::string_view one) { return same_word(one, value); });
}

mesh::LoadBalancing balancing(std::string_view spec, std::string_view object, std::string_view name_space) {
    mesh::LoadBalancing out;
    for (std::string_view said : {spec, object, name_space}) {
        if (said.empty() || !known_distribution(said)) continue;
        if (same_word(said, "Any")) return out;
        out.mode = mesh::LoadBalancingMode::failover;
        out.preferences = {Scope::network, Scope::region, Scope::zone};
        if (same_word(said, "PreferSameNode")) {
            out.preferences.push_back(Scope::subzone);
            out.preferences.push_back(Scope::node);
        }
        return out;
    }
    return out;
}

std::uint8_t app_protocol(std::string_view declared, std::string_view port_name) {
    std::string_view word = declared;
    if (word.empty()) word = port_name.substr(0, port_name.find('-'));
    if (same_word(word, "http") || same_word(word, "kubernetes.io/ws")) return 1;
    if (same_word(word, "http2") || same_word(word, "kubernetes.io/h2c")) return 2;
    return same_word(word, "grpc") ? 3 : 0;
}

mesh::Service service(const Mesh& mesh, const ServiceInputs& inputs) {
    const kube::Service& from = inputs.service;
    mesh::Service out;
    out.name = from.metadata.name;
    out.name_space = from.metadata.name_space;
    out.hostname = inputs.host;
    for (const Ip& ip : from.cluster_ips) {
        const auto whole = static_cast<std::uint8_t>(ip.is_v4() ? 32 : 128);
        out.vips.push_back({mesh.network, Cidr{ip, whole}});
    }
    for (const kube::ServicePort& port : from.ports) {
        if (port.protocol != kube::Protocol::tcp) continue;  // the mesh carries TCP
        out.ports.push_back({port.port, target(port), app_protocol(port.app_protocol, port.name)});
    }
    const auto& annotations = from.metadata.annotations;
    if (from.internal_traffic_local) {
        out.balancing.mode = mesh::LoadBalancingMode::strict;
        out.balancing.preferences = {Scope::node};
    } else {
        out.balancing = balancing(from.traffic_distribution, value_of(annotations, distribution_annotation),
                                  inputs.distribution);
    }
    if (from.publish_not_ready) out.balancing.health = mesh::HealthPolicy::allow_all;
    out.ip_families = families(from.ip_families);
    out.canonical = true;  // a Kubernetes Service always is
    out.visibility = visibility_of(words(value_of(annotations, export_annotation)), out.name_space);
    out.waypoint = inputs.waypoint;
    return out;
}

}  // namespace culvert::controller::translate
