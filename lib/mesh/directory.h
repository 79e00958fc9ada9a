// What a node knows of the mesh: workloads, services and policies, as an immutable snapshot. One writer
// (directory_writer.h) makes the next snapshot from a delta; every loop picks the newest up at the top of a
// turn, and a decision uses one snapshot from beginning to end. Reading is safe from any thread; nothing here
// ever changes.
//
// Indexes are two-level copy-on-write tables (table.h): a delta copies the shards that it touches, in memory
// that is proportional to the square root of the mesh. Records are compact: what the pods of one Deployment
// share is stored once (about 250 bytes a pod in all, bench/micro/directory). Sizes are bounded by what the
// controller sends: it is trusted.
//
// Rules: O-27 to O-30 (lookups), X-10, X-11, X-23 (deltas), decision S14 (addresses once seen as HBONE).
#pragma once
#include "lib/base/shared.h"
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/table.h"
#include "lib/mesh/workload.h"

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::mesh {

// Which machine of the mesh a workload stands on; shared by its pods.
struct Place {
    std::string node;
    Locality locality;
    auto operator<=>(const Place&) const = default;
};

// One workload of a snapshot. `value()` gives the whole of what WDS said.
class WorkloadRecord : public Counted<WorkloadRecord> {
public:
    WorkloadRecord(const Workload& value, std::shared_ptr<const Workload> kind,
                   std::shared_ptr<const Place> place);

    std::string_view uid() const { return {text_.get(), uid_size_}; }
    std::string_view name() const { return {text_.get() + text_size_ - name_size_, name_size_}; }
    std::span<const Ip> addresses() const;
    bool owns(Ip ip) const;
    Health health() const { return health_; }
    const std::string& node() const { return place_->node; }
    const Locality& locality() const { return place_->locality; }
    Identity identity() const { return kind_->identity(); }
    // Everything else, which the pods of one Deployment share. Its uid, name, addresses, node, locality and
    // health are empty: ask the record for those.
    const Workload& kind() const { return *kind_; }
    const Workload* operator->() const { return kind_.get(); }
    // The ports of one of its services; null: it is no endpoint of it.
    const Ports* service_ports(const ServiceKey& key) const;
    Workload value() const;

private:
    std::unique_ptr<char[]> text_;  // uid, with the name as its tail or behind it
    std::uint32_t text_size_ = 0;
    std::uint32_t uid_size_ = 0;
    std::uint32_t name_size_ = 0;
    std::uint8_t addresses_size_ = 0;
    Health health_ = Health::healthy;
    std::array<Ip, 2> few_{};  // two families are the rule
    std::unique_ptr<std::vector<Ip>> many_;
    std::shared_ptr<const Workload> kind_;
    std::shared_ptr<const Place> place_;
};
using WorkloadPtr = Shared<WorkloadRecord>;

// A record outside any snapshot: tests, and pods that WDS does not know yet (decision 10).
WorkloadPtr make_record(const Workload& value);
// What the pods of one Deployment share of a workload: the rest is empty.
Workload kind_of(const Workload& value);

// One service with the endpoints that named it. `value` is null while only its endpoints have arrived.
struct ServiceRecord {
    ServiceKey key;
    std::shared_ptr<const Service> value;
    Table<WorkloadPtr> endpoints;  // by uid; all of them, whatever their health (W-5): balance.h filters
    std::uint64_t order = 0;       // services are compared by when they first arrived (O-27, O-28)
};
using ServicePtr = std::shared_ptr<const ServiceRecord>;

struct PolicyRecord {
    std::string key;  // the xDS resource name, "namespace/name" (5.4)
    Policy value;
};
using PolicyPtr = std::shared_ptr<const PolicyRecord>;

// Which kinds of resources have arrived completely at least once. Until policies have, nobody may
// conclude from their absence (decision 10).
struct Synced {
    bool addresses = false;
    bool policies = false;
    bool all() const { return addresses && policies; }
    bool operator==(const Synced&) const = default;
};

class Directory {
public:
    // Workloads.
    WorkloadPtr workload(std::string_view uid) const;
    WorkloadPtr workload_at(std::string_view network, Ip ip) const;  // O-30
    // By exact name, namespace and service account: how a pod finds itself (I-2). Null: not known.
    WorkloadPtr local_workload(std::string_view name_space, std::string_view name,
                               std::string_view service_account) const;
    // By the namespace and hostname of a WorkloadEntry-like workload (O-23).
    WorkloadPtr workload_by_hostname(std::string_view name_space, std::string_view hostname) const;

    // Services. Those that `client_namespace` may not see do not exist for it (O-29).
    ServicePtr service(const ServiceKey& key) const;  // not filtered: references
    ServicePtr service_at(std::string_view network, Ip ip, std::string_view client_namespace) const;  // O-27
    // D-9: the client's namespace, canonical, `preferred_namespace`, first; among those that `eligible`
    // admits.
    ServicePtr service_by_hostname(std::string_view hostname, std::string_view client_namespace,
                                   std::string_view preferred_namespace = {},
                                   const std::function<bool(const Service&)>& eligible = {}) const;

    // Policies.
    PolicyPtr policy(std::string_view key) const;
    // R-1's first two kinds; the third a workload names itself.
    void for_each_global_policy(const std::function<void(const PolicyPtr&)>& visit) const;
    void for_each_namespace_policy(std::string_view name_space,
                                   const std::function<void(const PolicyPtr&)>& visit) const;

    bool owned_vip(std::string_view network,
                   Ip ip) const;  // some service's exact address, whoever may see it
    // S14: this address was HBONE when it was last heard of, and nobody owns it now.
    bool was_hbone(std::string_view network, Ip ip) const;

    // Everything, in no order: dumps and tests.
    void for_each_workload(const std::function<void(const WorkloadPtr&)>& visit) const;
    void for_each_service(const std::function<void(const ServicePtr&)>& visit) const;  // also staged ones
    void for_each_policy(const std::function<void(const PolicyPtr&)>& visit) const;
    std::size_t workloads() const { return by_uid_.size(); }
    std::size_t policies() const { return policies_.size(); }

    Synced synced() const { return synced_; }
    std::uint64_t version() const { return version_; }  // counts snapshots
    // Changes whenever a policy changed, or the list of policies of some workload (R-11, W-3): open
    // connections are then judged again. A pod that WDS had not described before shows by its record alone.
    std::uint64_t policy_version() const { return policy_version_; }

private:
    friend class DirectoryWriter;

    // A service in an index: its value without its endpoints, so that these may change without touching the
    // index.
    struct Named {
        std::shared_ptr<const Service> value;
        std::uint64_t order = 0;
    };
    struct Range {
        Named named;
        Vip vip;
    };
    struct Gone {
        NetworkAddress address;
        std::uint64_t order = 0;
    };
    class Choice;
    ServicePtr service_of_range(std::string_view network, Ip ip, std::string_view client_namespace) const;

    Table<WorkloadPtr> by_uid_;
    Table<WorkloadPtr> by_ip_;        // by network and address; without HOST_NETWORK workloads
    Table<WorkloadPtr> by_name_;      // by namespace and name
    Table<WorkloadPtr> by_hostname_;  // by namespace and hostname, those that have one
    Table<ServicePtr> services_;
    Table<Named> by_service_hostname_;
    Table<Named> by_vip_;                        // exact ones
    Table<Range> by_range_;                      // by network, length and masked base
    std::array<std::uint32_t, 33> v4_ranges_{};  // how many ranges have this length: which lengths to try
    std::array<std::uint32_t, 129> v6_ranges_{};
    Table<PolicyPtr> policies_;
    Table<PolicyPtr> by_scope_;  // GLOBAL and NAMESPACE ones
    Table<Gone> gone_;
    Synced synced_;
    std::uint64_t version_ = 0;
    std::uint64_t policy_version_ = 0;
};
using DirectoryPtr = std::shared_ptr<const Directory>;

}  // namespace culvert::mesh
