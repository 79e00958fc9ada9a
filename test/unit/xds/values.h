// Mesh values for the tests of xDS: one with every field, and small ones by number.
#pragma once
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"
#include "lib/xds/resources.h"

#include <string>

namespace culvert::test {

inline mesh::Workload small_workload(int number, int revision = 0) {
    mesh::Workload value;
    value.uid = "Kubernetes//Pod/shop/pod-" + std::to_string(number);
    value.name = "pod-" + std::to_string(number);
    value.name_space = "shop";
    value.addresses = {Ip::v4(0x0a000000u + static_cast<std::uint32_t>(number))};
    value.tunnel_protocol = mesh::TunnelProtocol::hbone;
    value.node = "node-" + std::to_string(number % 4);
    value.canonical_revision = "r" + std::to_string(revision);
    value.services[{"shop", "web.shop.svc.cluster.local"}] = {{80, 8080, 0}};
    return value;
}

inline mesh::Service small_service(int number, int revision = 0) {
    mesh::Service value;
    value.name = "svc-" + std::to_string(number);
    value.name_space = "shop";
    value.hostname = value.name + ".shop.svc.cluster.local";
    value.vips = {{"", *Cidr::make(Ip::v4(0x0a600000u + static_cast<std::uint32_t>(number)), 32)}};
    value.ports = {{80, static_cast<std::uint16_t>(8000 + revision), 0}};
    return value;
}

inline mesh::Policy small_policy(int number, int revision = 0) {
    mesh::Policy value;
    value.name = "policy-" + std::to_string(number);
    value.name_space = "shop";
    value.scope = mesh::PolicyScope::name_space;
    mesh::Match match;
    match.principals.any_of = {
        mesh::StringMatch::exact("cluster.local/ns/shop/sa/r" + std::to_string(revision))};
    value.rules = {{{{{match}}}}};
    return value;
}

inline mesh::Workload full_workload() {
    mesh::Workload value = small_workload(1);
    value.addresses.push_back(*Ip::parse("fd00::1"));
    value.hostname = "one.example.com";
    value.network = "east";
    value.trust_domain = "example.org";
    value.service_account = "web";
    value.waypoint = {mesh::ServiceKey{"shop", "waypoint.shop.svc.cluster.local"}, 15008};
    value.network_gateway = {mesh::NetworkAddress{"west", *Ip::parse("192.0.2.1")}, 15008};
    value.canonical_name = "web";
    value.type = mesh::WorkloadType::pod;
    value.workload_name = "web-7f";
    value.native_tunnel = true;
    value.authorization_policies = {"shop/allow-web", "shop/deny-all"};
    value.health = mesh::Health::unhealthy;
    value.cluster_id = "east-1";
    value.services[{"shop", "named.shop.svc.cluster.local"}] = {{443, 8443, 2}, {80, 0, 1}};
    value.application_tunnel = {mesh::ApplicationTunnel::Protocol::proxy, 15080};
    value.locality = {"eu", "eu-1", "rack-7"};
    value.network_mode = mesh::NetworkMode::host_network;
    value.capacity = 7;
    return value;
}

inline mesh::Service full_service() {
    mesh::Service value = small_service(1);
    value.vips = {{"east", *Cidr::parse("10.96.0.1/32")}, {"", *Cidr::parse("fd00:96::/64")}};
    value.subject_alt_names = {"spiffe://cluster.local/ns/shop/sa/web"};
    value.waypoint = {mesh::NetworkAddress{"", *Ip::parse("10.96.0.9")}, 15008};
    value.weighted_waypoints = {{*value.waypoint, 90}, {{mesh::ServiceKey{"shop", "canary"}, 15008}, 10}};
    value.balancing = {{mesh::LoadBalancingScope::zone, mesh::LoadBalancingScope::network},
                       mesh::LoadBalancingMode::failover,
                       mesh::HealthPolicy::allow_all};
    value.ip_families = mesh::IpFamilies::dual;
    value.canonical = true;
    value.ingress_use_waypoint = true;
    value.visibility = mesh::Visibility::name_space;
    return value;
}

inline mesh::Policy full_policy() {
    mesh::Match match;
    match.namespaces = {{mesh::StringMatch::prefix("a")}, {mesh::StringMatch::suffix("b")}};
    match.principals = {{mesh::StringMatch::presence()}, {mesh::StringMatch::malformed()}};
    match.service_accounts = {{{"shop", "web"}}, {{"", "db"}}};
    match.source_ips = {{{*Cidr::parse("10.0.0.0/8"), false}}, {{{}, true}}};
    match.destination_ips = {{{*Cidr::parse("fd00::/8"), false}}, {}};
    match.destination_ports = {{{80}, {70000}}, {{443}}};
    mesh::Policy value = small_policy(1);
    value.action = mesh::PolicyAction::deny;
    value.scope = mesh::PolicyScope::workload_selector;
    value.dry_run = true;
    value.rules = {{{{{match, mesh::Match{}}}, mesh::Clause{}}}, mesh::Rule{}};
    return value;
}

}  // namespace culvert::test
