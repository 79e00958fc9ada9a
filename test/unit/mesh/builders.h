// Short ways to write workloads, services and directories in tests.
#pragma once
#include "lib/base/check.h"
#include "lib/mesh/directory_writer.h"

#include <functional>
#include <initializer_list>

namespace culvert::mesh::test {

inline Ip ip(std::string_view text) {
    auto parsed = Ip::parse(text);
    check(parsed.has_value());
    return *parsed;
}

inline Address at(std::string_view text) {
    auto parsed = Address::parse(text);
    check(parsed.has_value());
    return *parsed;
}

inline Cidr cidr(std::string_view text) {
    auto parsed = Cidr::parse(text);
    check(parsed.has_value());
    return *parsed;
}

// An HBONE pod of namespace "ns" unless `change` says otherwise.
inline Workload pod(std::string_view name, std::initializer_list<std::string_view> addresses,
                    const std::function<void(Workload&)>& change = {}) {
    Workload workload;
    workload.name = name;
    workload.name_space = "ns";
    workload.tunnel_protocol = TunnelProtocol::hbone;
    workload.service_account = std::string(name) + "-sa";
    for (std::string_view address : addresses) workload.addresses.push_back(ip(address));
    if (change) change(workload);
    if (workload.uid.empty()) workload.uid = "cluster1//Pod/" + workload.name_space + "/" + workload.name;
    return workload;
}

// A service of namespace "ns" with port 80 to 8080 unless `change` says otherwise; a VIP is "10.1.0.1" or
// "10.2.0.0/16".
inline Service service(std::string_view name, std::initializer_list<std::string_view> vips,
                       const std::function<void(Service&)>& change = {}) {
    Service made;
    made.name = name;
    made.name_space = "ns";
    made.ports = {{80, 8080, 0}};
    for (std::string_view vip : vips) made.vips.push_back({"", cidr(vip)});
    if (change) change(made);
    if (made.hostname.empty()) made.hostname = made.name + "." + made.name_space + ".svc.cluster.local";
    return made;
}

inline ServiceKey key(std::string_view name, std::string_view name_space = "ns") {
    return {std::string(name_space),
            std::string(name) + "." + std::string(name_space) + ".svc.cluster.local"};
}

inline DirectoryPtr directory(std::vector<std::variant<Workload, Service>> addresses,
                              std::vector<NamedPolicy> policies = {}) {
    DirectoryWriter writer;
    return writer.apply({std::move(addresses), {}, std::move(policies), {}, true, true});
}

}  // namespace culvert::mesh::test
