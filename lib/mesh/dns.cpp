#include "lib/mesh/dns.h"

#include <algorithm>

namespace culvert::mesh::dns {

namespace {

std::size_t labels(std::string_view name) {
    return name.empty() ? 0 : 1 + static_cast<std::size_t>(std::ranges::count(name, '.'));
}

// D-6: how Kubernetes shortens names, undone.
void expand(std::vector<Candidate>& to, std::string_view name, std::string_view name_space,
            std::string_view domain, std::string_view stripped) {
    auto add = [&](std::string_view middle, std::string_view end) {
        std::string whole(name);
        whole.append(middle).append(end).append(".").append(domain);
        to.push_back({std::move(whole), std::string(stripped)});
    };
    std::string own = "." + std::string(name_space) + ".svc";
    switch (labels(name)) {
    case 1: add(own, ""); break;
    case 2:
        add(".svc", "");
        add(own, "");
        break;
    case 3:
        if (name.ends_with(".svc")) add("", "");
        add(".svc", "");
        break;
    case 4:
        if (name.ends_with(".svc")) add("", "");
        break;
    default: break;
    }
}

// D-8: reachable by name: a VIP of its own, or headless by the form of its name.
bool eligible(const Service& service, std::string_view domain) {
    return std::ranges::any_of(service.vips, &Vip::exact) ||
           service.hostname.ends_with(".svc." + std::string(domain));
}

struct Found {
    ServicePtr service;
    bool wildcard = false;
};

// D-7: the name itself, then "*.rest", a label shorter each time.
Found find(const Directory& directory, const Surroundings& around, std::string_view client_namespace,
           const std::string& name) {
    auto by_name = [&](std::string_view hostname) {
        return directory.service_by_hostname(
            hostname, client_namespace, around.preferred_service_namespace,
            [&](const Service& service) { return eligible(service, around.cluster_domain); });
    };
    if (ServicePtr exact = by_name(name)) return {exact, false};
    std::string_view rest = name;
    for (std::size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
        rest.remove_prefix(dot + 1);
        if (ServicePtr wide = by_name("*." + std::string(rest))) return {wide, true};
    }
    return {};
}

bool wanted(Ip ip, Type type) { return ip.is_v4() == (type == Type::a); }

// D-10: VIPs on the client's network; a headless service's pods wherever they are.
std::vector<Ip> addresses(const ServiceRecord& record, const Client& client, Type type) {
    const Service& service = *record.value;
    std::vector<Ip> all;
    bool headless = std::ranges::none_of(service.vips, &Vip::exact);
    for (const Vip& vip : service.vips)
        if (vip.exact() && vip.network == client.workload->network && wanted(vip.range.base, type))
            all.push_back(vip.range.base);
    if (!headless) return all;
    record.endpoints.for_each([&](const WorkloadPtr& endpoint) {
        bool healthy = endpoint->health() == Health::healthy;
        if (!healthy && service.balancing.health != HealthPolicy::allow_all) return;
        auto of_family = [type](Ip ip) { return wanted(ip, type); };
        auto first = std::ranges::find_if(endpoint->addresses(), of_family);
        if (first != endpoint->addresses().end()) all.push_back(*first);
    });
    return all;
}

// Fisher-Yates, as far as the answer goes: a fair choice of addresses_max out of all, in random order.
void shuffle(std::vector<Ip>& all, Random& random) {
    std::size_t keep = std::min(all.size(), addresses_max);
    for (std::size_t i = 0; i < keep; ++i) std::swap(all[i], all[i + random.below(all.size() - i)]);
    all.resize(keep);
}

}  // namespace

std::vector<Candidate> candidates(std::string_view name, std::string_view name_space,
                                  std::string_view cluster_domain) {
    std::vector<Candidate> all{{std::string(name), ""}};
    expand(all, name, name_space, cluster_domain, "");
    std::string domain(cluster_domain);
    for (const std::string& search : {std::string(name_space) + ".svc." + domain, "svc." + domain, domain}) {
        std::string tail = "." + search;
        if (!name.ends_with(tail) || name.size() == tail.size()) continue;  // a proper suffix
        std::string stripped(name.substr(0, name.size() - tail.size()));
        all.push_back({stripped, stripped});
        expand(all, stripped, name_space, cluster_domain, stripped);
    }
    return all;
}

Answer resolve(const Directory& directory, const Surroundings& around, const Client& client,
               const Query& query, Random& random) {
    Answer answer;
    answer.what = Answer::What::local;
    if (query.response || query.malformed) {
        answer.code = Code::format_error;
        return answer;
    }
    if (query.opcode != 0) {
        answer.code = Code::not_implemented;
        return answer;
    }
    auto type = static_cast<Type>(query.type);
    bool ours = query.plain && !query.name.empty() && query.query_class == 1;
    if (!ours || (type != Type::a && type != Type::aaaa)) return {};  // D-4: forwarded

    const std::string& name_space = client.workload->name_space;
    for (const Candidate& candidate : candidates(query.name, name_space, around.cluster_domain)) {
        Found found = find(directory, around, name_space, candidate.name);
        if (!found.service) continue;
        answer.service = found.service;
        if (!found.wildcard) answer.canonical_name = candidate.stripped;  // D-11
        IpFamilies families = found.service->value->ip_families;
        bool excluded = type == Type::a ? families == IpFamilies::v6_only
                                        : families == IpFamilies::v4_only || !client.ipv6;
        if (!excluded) answer.addresses = addresses(*found.service, client, type);
        if (answer.addresses.empty()) answer.canonical_name.clear();  // D-12: empty, nothing to alias
        shuffle(answer.addresses, random);
        return answer;
    }
    return {};  // D-13
}

}  // namespace culvert::mesh::dns
