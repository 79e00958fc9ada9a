#include "lib/mesh/directory.h"

#include "lib/mesh/directory_keys.h"

#include <tuple>

namespace culvert::mesh {

namespace {

// O-30: who owns an address that several claim. Equals are told apart by uid, so that every node decides
// alike.
unsigned claim(const WorkloadRecord& workload) {
    bool pod = workload.uid().contains("//Pod/");
    bool hbone = workload->tunnel_protocol == TunnelProtocol::hbone;
    return (pod ? 2U : 0U) + (hbone ? 1U : 0U);
}

bool wins(const WorkloadRecord& challenger, const WorkloadRecord& holder) {
    if (claim(challenger) != claim(holder)) return claim(challenger) > claim(holder);
    return challenger.uid() < holder.uid();
}

}  // namespace

// Which of several services that share an address or a hostname a client means: its own namespace's, then a
// canonical one (the last that came), then the preferred namespace's, then the first that came (O-27, D-9).
// Inside one namespace the newer replaces the older (O-28).
class Directory::Choice {
public:
    Choice(std::string_view client, std::string_view preferred) : client_(client), preferred_(preferred) {}

    void offer(const Named& named) {
        if (!named.value->visible_to(client_)) return;
        std::string_view name_space = named.value->name_space;
        if (name_space == client_) {
            newest(own_, named);
        } else if (name_space == preferred_) {
            newest(preferred_one_, named);
        }
        if (named.value->canonical) newest(canonical_, named);
        oldest_namespace(named);
    }

    const Named* best() const {
        for (const Named* named : {own_, canonical_, preferred_one_, first_})
            if (named) return named;
        return nullptr;
    }

private:
    static void newest(const Named*& held, const Named& named) {
        if (!held || named.order > held->order) held = &named;
    }
    // The namespace that came first; of its services the newest.
    void oldest_namespace(const Named& named) {
        if (first_ && first_->value->name_space == named.value->name_space) {
            first_order_ = std::min(first_order_, named.order);
            newest(first_, named);
        } else if (!first_ || named.order < first_order_) {
            first_order_ = named.order;
            first_ = &named;
        }
    }

    std::string_view client_;
    std::string_view preferred_;
    const Named* own_ = nullptr;
    const Named* canonical_ = nullptr;
    const Named* preferred_one_ = nullptr;
    const Named* first_ = nullptr;
    std::uint64_t first_order_ = 0;
};

WorkloadPtr Directory::workload(std::string_view uid) const {
    const WorkloadPtr* found =
        by_uid_.find(hash_text(uid), [&](const WorkloadPtr& workload) { return workload->uid() == uid; });
    return found ? *found : nullptr;
}

WorkloadPtr Directory::workload_at(std::string_view network, Ip ip) const {
    const WorkloadPtr* best = nullptr;
    by_ip_.find(keys::address(network, ip), [&](const WorkloadPtr& workload) {
        bool claims = workload->owns(ip) && workload->kind().network == network;
        if (claims && (!best || wins(*workload, **best))) best = &workload;
        return false;
    });
    return best ? *best : nullptr;
}

WorkloadPtr Directory::local_workload(std::string_view name_space, std::string_view name,
                                      std::string_view service_account) const {
    const WorkloadPtr* found = by_name_.find(keys::pair(name_space, name), [&](const WorkloadPtr& workload) {
        const Workload& kind = workload->kind();
        return workload->name() == name && kind.name_space == name_space &&
               kind.service_account == service_account;
    });
    return found ? *found : nullptr;
}

WorkloadPtr Directory::workload_by_hostname(std::string_view name_space, std::string_view hostname) const {
    const WorkloadPtr* found =
        by_hostname_.find(keys::pair(name_space, hostname), [&](const WorkloadPtr& workload) {
            return workload->kind().hostname == hostname && workload->kind().name_space == name_space;
        });
    return found ? *found : nullptr;
}

ServicePtr Directory::service(const ServiceKey& key) const {
    const ServicePtr* found = services_.find(keys::pair(key.name_space, key.hostname),
                                             [&](const ServicePtr& service) { return service->key == key; });
    return found && (*found)->value ? *found : nullptr;
}

ServicePtr Directory::service_at(std::string_view network, Ip ip, std::string_view client_namespace) const {
    Choice exact(client_namespace, {});
    by_vip_.find(keys::address(network, ip), [&](const Named& named) {
        if (named.value->owns(network, ip)) exact.offer(named);
        return false;
    });
    if (exact.best()) return service(exact.best()->value->key());
    return service_of_range(network, ip, client_namespace);
}

bool Directory::owned_vip(std::string_view network, Ip ip) const {
    return by_vip_.find(keys::address(network, ip),
                        [&](const Named& named) { return named.value->owns(network, ip); });
}

// The best range: in the client's namespace, then the longest, then canonical, then the first that came
// (O-27).
ServicePtr Directory::service_of_range(std::string_view network, Ip ip,
                                       std::string_view client_namespace) const {
    using Merit = std::tuple<bool, std::uint8_t, bool, std::uint64_t>;
    const Named* best = nullptr;
    Merit best_merit;
    auto consider = [&](const Range& range) {
        const Service& service = *range.named.value;
        if (range.vip.network != network || !range.vip.range.contains(ip)) return false;
        if (!service.visible_to(client_namespace)) return false;
        Merit merit{service.name_space == client_namespace, range.vip.range.length, service.canonical,
                    ~range.named.order};
        if (!best || merit > best_merit) {
            best = &range.named;
            best_merit = merit;
        }
        return false;
    };
    std::span<const std::uint32_t> lengths =
        ip.is_v4() ? std::span<const std::uint32_t>(v4_ranges_) : std::span<const std::uint32_t>(v6_ranges_);
    for (unsigned length = 0; length < lengths.size(); ++length)
        if (lengths[length]) by_range_.find(keys::range(network, ip, length), consider);
    return best ? service(best->value->key()) : nullptr;
}

ServicePtr Directory::service_by_hostname(std::string_view hostname, std::string_view client_namespace,
                                          std::string_view preferred_namespace,
                                          const std::function<bool(const Service&)>& eligible) const {
    Choice choice(client_namespace, preferred_namespace);
    by_service_hostname_.find(hash_text(hostname), [&](const Named& named) {
        if (named.value->hostname == hostname && (!eligible || eligible(*named.value))) choice.offer(named);
        return false;
    });
    return choice.best() ? service(choice.best()->value->key()) : nullptr;
}

PolicyPtr Directory::policy(std::string_view key) const {
    const PolicyPtr* found =
        policies_.find(hash_text(key), [&](const PolicyPtr& policy) { return policy->key == key; });
    return found ? *found : nullptr;
}

void Directory::for_each_global_policy(const std::function<void(const PolicyPtr&)>& visit) const {
    by_scope_.find(keys::global_scope(), [&](const PolicyPtr& policy) {
        if (policy->value.scope == PolicyScope::global) visit(policy);
        return false;
    });
}

void Directory::for_each_namespace_policy(std::string_view name_space,
                                          const std::function<void(const PolicyPtr&)>& visit) const {
    by_scope_.find(keys::namespace_scope(name_space), [&](const PolicyPtr& policy) {
        if (policy->value.scope == PolicyScope::name_space && policy->value.name_space == name_space)
            visit(policy);
        return false;
    });
}

bool Directory::was_hbone(std::string_view network, Ip ip) const {
    return gone_.find(keys::address(network, ip), [&](const Gone& gone) {
        return gone.address.ip == ip && gone.address.network == network;
    });
}

void Directory::for_each_workload(const std::function<void(const WorkloadPtr&)>& visit) const {
    by_uid_.for_each(visit);
}
void Directory::for_each_service(const std::function<void(const ServicePtr&)>& visit) const {
    services_.for_each(visit);
}
void Directory::for_each_policy(const std::function<void(const PolicyPtr&)>& visit) const {
    policies_.for_each(visit);
}

}  // namespace culvert::mesh
