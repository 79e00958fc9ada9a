// One delta on its way into the next snapshot. Internal to the writer: the tables in edit, and the services
// whose endpoints change. done() gives the snapshot; the edit is spent.
#pragma once
#include "lib/mesh/directory_writer.h"

#include <map>
#include <optional>

namespace culvert::mesh {

class DirectoryWriter::Edit {
public:
    explicit Edit(DirectoryWriter& writer);

    void put(const Workload& value);
    void put(const Service& value);
    void put(const NamedPolicy& named);
    bool remove_address(const std::string& name);  // X-11; false: nobody had it
    void remove_policy(const std::string& key);
    void synced(const Delta& delta);
    DirectoryPtr done();

private:
    // A service that this delta touches. Its endpoints are merged into one table edit and its record is made
    // once.
    struct Touched {
        ServicePtr before;                     // null: was not there
        std::shared_ptr<const Service> value;  // null: staged endpoints only
        std::uint64_t order = 0;
        std::optional<TableEdit<WorkloadPtr>> endpoints;
    };
    struct Endpoint {
        Touched& service;
        const WorkloadPtr& workload;
    };

    Touched& touch(const ServiceKey& key);
    TableEdit<WorkloadPtr>& endpoints(Touched& touched);
    void index(const WorkloadPtr& workload);
    void unindex(const WorkloadPtr& workload);
    void index(const std::shared_ptr<const Service>& value, std::uint64_t order);
    void unindex(const std::shared_ptr<const Service>& value);
    std::uint32_t& ranges_of(const Cidr& range);
    void remove_policy_record(const PolicyPtr& policy);
    void finish_services();
    void finish_gone();
    void remember_gone(const NetworkAddress& address);
    void forget_gone(const NetworkAddress& address);

    DirectoryWriter& writer_;
    std::shared_ptr<Directory> next_;
    TableEdit<WorkloadPtr> by_uid_;
    TableEdit<WorkloadPtr> by_ip_;
    TableEdit<WorkloadPtr> by_name_;
    TableEdit<WorkloadPtr> by_hostname_;
    TableEdit<ServicePtr> services_;
    TableEdit<Directory::Named> by_service_hostname_;
    TableEdit<Directory::Named> by_vip_;
    TableEdit<Directory::Range> by_range_;
    TableEdit<PolicyPtr> policies_;
    TableEdit<PolicyPtr> by_scope_;
    TableEdit<Directory::Gone> gone_;
    std::map<ServiceKey, Touched> touched_;
    std::vector<NetworkAddress> perhaps_gone_;  // lost their HBONE owner in this delta
    bool policies_changed_ = false;
};

}  // namespace culvert::mesh
