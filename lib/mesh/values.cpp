// The few functions of the plain value types: workload.h, service.h, policy.h.
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"

#include <algorithm>

namespace culvert::mesh {

std::string NetworkAddress::to_string() const { return network + "/" + ip.to_string(); }

std::string ServiceKey::to_string() const { return name_space + "/" + hostname; }

std::optional<ServiceKey> ServiceKey::parse(std::string_view text) {
    std::size_t slash = text.find('/');
    if (slash == std::string_view::npos || text.find('/', slash + 1) != std::string_view::npos)
        return std::nullopt;
    return ServiceKey{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

std::string GatewayAddress::destination_text() const {
    if (const auto* key = std::get_if<ServiceKey>(&destination)) return key->to_string();
    return std::get<NetworkAddress>(destination).to_string();
}

std::string_view word(WorkloadType type) {
    switch (type) {
    case WorkloadType::deployment: return "deployment";
    case WorkloadType::cronjob: return "cronjob";
    case WorkloadType::pod: return "pod";
    case WorkloadType::job: return "job";
    }
    return "deployment";
}

std::string Vip::to_string() const {
    std::string text = network + "/" + range.base.to_string();
    return exact() ? text : text + "/" + std::to_string(range.length);
}

bool Service::owns(std::string_view network, Ip ip) const {
    return std::ranges::any_of(vips, [network, ip](const Vip& vip) {
        return vip.exact() && vip.network == network && vip.range.base == ip;
    });
}

bool Service::permits(Ip ip) const {
    if (ip_families == IpFamilies::v4_only) return ip.is_v4();
    if (ip_families == IpFamilies::v6_only) return ip.is_v6();
    return true;
}

const Port* find_port(const Ports& ports, std::uint16_t service_port) {
    auto at = std::ranges::find(ports, service_port, &Port::service_port);
    return at == ports.end() ? nullptr : &*at;
}

const Port* Service::port(std::uint16_t service_port) const { return find_port(ports, service_port); }

bool Match::empty() const {
    return namespaces.empty() && principals.empty() && service_accounts.empty() && source_ips.empty() &&
           destination_ips.empty() && destination_ports.empty();
}

}  // namespace culvert::mesh
