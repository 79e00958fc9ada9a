#include "lib/mesh/directory_edit.h"

#include "lib/mesh/directory_keys.h"

namespace culvert::mesh {

namespace {

bool carries_hbone(const WorkloadRecord& workload) {
    return workload->tunnel_protocol == TunnelProtocol::hbone &&
           workload->network_mode == NetworkMode::standard;
}

bool any_hbone(const Table<WorkloadPtr>& endpoints) {
    bool found = false;
    endpoints.for_each([&](const WorkloadPtr& workload) { found = found || carries_hbone(*workload); });
    return found;
}

auto is(const WorkloadPtr& workload) {
    return [&workload](const WorkloadPtr& other) { return other == workload; };
}

}  // namespace

DirectoryWriter::Edit::Edit(DirectoryWriter& writer)
    : writer_(writer), next_(std::make_shared<Directory>(*writer.current_)), by_uid_(next_->by_uid_),
      by_ip_(next_->by_ip_), by_name_(next_->by_name_), by_hostname_(next_->by_hostname_),
      services_(next_->services_), by_service_hostname_(next_->by_service_hostname_), by_vip_(next_->by_vip_),
      by_range_(next_->by_range_), policies_(next_->policies_), by_scope_(next_->by_scope_),
      gone_(next_->gone_) {}

// -- workloads

void DirectoryWriter::Edit::put(const Workload& value) {
    const WorkloadPtr* held = by_uid_.now().find(
        hash_text(value.uid), [&](const WorkloadPtr& workload) { return workload->uid() == value.uid; });
    WorkloadPtr before = held ? *held : nullptr;
    if (before) unindex(before);
    WorkloadPtr record(new WorkloadRecord(value, writer_.shared_kind(value), writer_.shared_place(value)));
    index(record);

    static const std::vector<std::string> none;
    const auto& policies_before = before ? before->kind().authorization_policies : none;
    if (policies_before != value.authorization_policies) policies_changed_ = true;
    if (before && before->kind().name_space != value.name_space) policies_changed_ = true;
    for (Ip ip : value.addresses) forget_gone({value.network, ip});
}

void DirectoryWriter::Edit::index(const WorkloadPtr& workload) {
    const Workload& kind = workload->kind();
    by_uid_.insert(hash_text(workload->uid()), workload);
    by_name_.insert(keys::pair(kind.name_space, workload->name()), workload);
    if (!kind.hostname.empty()) by_hostname_.insert(keys::pair(kind.name_space, kind.hostname), workload);
    if (kind.network_mode == NetworkMode::standard)
        for (Ip ip : workload->addresses()) by_ip_.insert(keys::address(kind.network, ip), workload);
    for (const auto& [key, ports] : kind.services)
        endpoints(touch(key)).insert(hash_text(workload->uid()), workload);
}

void DirectoryWriter::Edit::unindex(const WorkloadPtr& workload) {
    const Workload& kind = workload->kind();
    by_uid_.erase(hash_text(workload->uid()), is(workload));
    by_name_.erase(keys::pair(kind.name_space, workload->name()), is(workload));
    if (!kind.hostname.empty()) by_hostname_.erase(keys::pair(kind.name_space, kind.hostname), is(workload));
    if (kind.network_mode == NetworkMode::standard)
        for (Ip ip : workload->addresses()) by_ip_.erase(keys::address(kind.network, ip), is(workload));
    for (const auto& [key, ports] : kind.services)
        endpoints(touch(key)).erase(hash_text(workload->uid()), is(workload));
    if (carries_hbone(*workload))
        for (Ip ip : workload->addresses()) perhaps_gone_.push_back({kind.network, ip});
}

// -- services

DirectoryWriter::Edit::Touched& DirectoryWriter::Edit::touch(const ServiceKey& key) {
    auto [at, fresh] = touched_.try_emplace(key);
    Touched& touched = at->second;
    if (!fresh) return touched;
    const ServicePtr* held =
        services_.now().find(keys::pair(key.name_space, key.hostname),
                             [&](const ServicePtr& service) { return service->key == key; });
    if (held) touched = {*held, (*held)->value, (*held)->order, {}};
    return touched;
}

TableEdit<WorkloadPtr>& DirectoryWriter::Edit::endpoints(Touched& touched) {
    if (!touched.endpoints)
        touched.endpoints.emplace(touched.before ? touched.before->endpoints : Table<WorkloadPtr>());
    return *touched.endpoints;
}

void DirectoryWriter::Edit::put(const Service& value) {
    Touched& touched = touch(value.key());
    if (touched.value) unindex(touched.value);
    if (!touched.value) touched.order = writer_.next_order_++;
    touched.value = std::make_shared<const Service>(value);
    index(touched.value, touched.order);
    for (const Vip& vip : value.vips)
        if (vip.exact()) forget_gone({vip.network, vip.range.base});
}

std::uint32_t& DirectoryWriter::Edit::ranges_of(const Cidr& range) {
    return range.base.is_v4() ? next_->v4_ranges_[range.length] : next_->v6_ranges_[range.length];
}

void DirectoryWriter::Edit::index(const std::shared_ptr<const Service>& value, std::uint64_t order) {
    by_service_hostname_.insert(hash_text(value->hostname), {value, order});
    for (const Vip& vip : value->vips) {
        if (vip.exact()) {
            by_vip_.insert(keys::address(vip.network, vip.range.base), {value, order});
        } else {
            by_range_.insert(keys::range(vip.network, vip.range.base, vip.range.length),
                             {{value, order}, vip});
            ++ranges_of(vip.range);
        }
    }
}

void DirectoryWriter::Edit::unindex(const std::shared_ptr<const Service>& value) {
    auto is_it = [&](const Directory::Named& named) { return named.value == value; };
    by_service_hostname_.erase(hash_text(value->hostname), is_it);
    for (const Vip& vip : value->vips) {
        if (vip.exact()) {
            by_vip_.erase(keys::address(vip.network, vip.range.base), is_it);
            continue;
        }
        by_range_.erase(
            keys::range(vip.network, vip.range.base, vip.range.length),
            [&](const Directory::Range& range) { return range.named.value == value && range.vip == vip; });
        --ranges_of(vip.range);
    }
}

// -- removal

bool DirectoryWriter::Edit::remove_address(const std::string& name) {
    const WorkloadPtr* held = by_uid_.now().find(
        hash_text(name), [&](const WorkloadPtr& workload) { return workload->uid() == name; });
    if (held) {
        WorkloadPtr workload = *held;
        if (!workload->kind().authorization_policies.empty()) policies_changed_ = true;
        unindex(workload);
        return true;
    }
    std::optional<ServiceKey> key = ServiceKey::parse(name);
    if (!key) return false;
    Touched& touched = touch(*key);
    if (!touched.value) return false;
    unindex(touched.value);
    // Its pods may have left earlier in the same delta.
    bool hbone =
        any_hbone(endpoints(touched).now()) || (touched.before && any_hbone(touched.before->endpoints));
    for (const Vip& vip : touched.value->vips)
        if (hbone && vip.exact()) perhaps_gone_.push_back({vip.network, vip.range.base});
    touched.value = nullptr;
    return true;
}

// -- policies

void DirectoryWriter::Edit::put(const NamedPolicy& named) {
    const PolicyPtr* held = policies_.now().find(
        hash_text(named.key), [&](const PolicyPtr& policy) { return policy->key == named.key; });
    if (held && (*held)->value == named.value) return;
    if (held) remove_policy_record(PolicyPtr(*held));
    auto policy = std::make_shared<const PolicyRecord>(PolicyRecord{named.key, named.value});
    policies_.insert(hash_text(named.key), policy);
    if (policy->value.scope == PolicyScope::global) by_scope_.insert(keys::global_scope(), policy);
    if (policy->value.scope == PolicyScope::name_space)
        by_scope_.insert(keys::namespace_scope(policy->value.name_space), policy);
    policies_changed_ = true;
}

void DirectoryWriter::Edit::remove_policy(const std::string& key) {
    const PolicyPtr* held =
        policies_.now().find(hash_text(key), [&](const PolicyPtr& policy) { return policy->key == key; });
    if (held) remove_policy_record(PolicyPtr(*held));
}

void DirectoryWriter::Edit::remove_policy_record(const PolicyPtr& policy) {
    auto is_it = [&](const PolicyPtr& other) { return other == policy; };
    policies_.erase(hash_text(policy->key), is_it);
    by_scope_.erase(keys::global_scope(), is_it);
    by_scope_.erase(keys::namespace_scope(policy->value.name_space), is_it);
    policies_changed_ = true;
}

void DirectoryWriter::Edit::synced(const Delta& delta) {
    if (delta.policies_complete && !next_->synced_.policies) policies_changed_ = true;
    next_->synced_.addresses = next_->synced_.addresses || delta.addresses_complete;
    next_->synced_.policies = next_->synced_.policies || delta.policies_complete;
}

// -- the end of the delta

void DirectoryWriter::Edit::finish_services() {
    for (auto& [key, touched] : touched_) {
        std::uint64_t hash = keys::pair(key.name_space, key.hostname);
        if (touched.before)
            services_.erase(hash, [&](const ServicePtr& other) { return other == touched.before; });
        auto record = std::make_shared<ServiceRecord>();
        record->key = key;
        record->value = touched.value;
        record->order = touched.order;
        if (touched.endpoints) {
            record->endpoints = touched.endpoints->done();
        } else if (touched.before) {
            record->endpoints = touched.before->endpoints;
        }
        if (record->value || record->endpoints.size() > 0) services_.insert(hash, std::move(record));
    }
}

void DirectoryWriter::Edit::finish_gone() {
    for (const NetworkAddress& address : perhaps_gone_) {
        bool owned =
            next_->workload_at(address.network, address.ip) || next_->owned_vip(address.network, address.ip);
        if (!owned) remember_gone(address);
    }
    // What came back leaves its old place in the queue behind; they are dropped when they outweigh the rest.
    if (writer_.gone_order_.size() > 2 * gone_max)
        std::erase_if(writer_.gone_order_, [&](const Directory::Gone& gone) {
            return !gone_.now().find(keys::address(gone.address.network, gone.address.ip),
                                     [&](const Directory::Gone& other) { return other.order == gone.order; });
        });
    next_->gone_ = gone_.done();
}

void DirectoryWriter::Edit::remember_gone(const NetworkAddress& address) {
    forget_gone(address);
    Directory::Gone gone{address, writer_.next_order_++};
    gone_.insert(keys::address(address.network, address.ip), gone);
    writer_.gone_order_.push_back(std::move(gone));
    while (gone_.now().size() > gone_max) {
        Directory::Gone oldest = writer_.gone_order_.front();
        writer_.gone_order_.pop_front();
        gone_.erase(keys::address(oldest.address.network, oldest.address.ip),
                    [&](const Directory::Gone& other) { return other.order == oldest.order; });
    }
}

void DirectoryWriter::Edit::forget_gone(const NetworkAddress& address) {
    gone_.erase(keys::address(address.network, address.ip),
                [&](const Directory::Gone& gone) { return gone.address == address; });
}

DirectoryPtr DirectoryWriter::Edit::done() {
    finish_services();
    next_->by_uid_ = by_uid_.done();
    next_->by_ip_ = by_ip_.done();
    next_->by_name_ = by_name_.done();
    next_->by_hostname_ = by_hostname_.done();
    next_->services_ = services_.done();
    next_->by_service_hostname_ = by_service_hostname_.done();
    next_->by_vip_ = by_vip_.done();
    next_->by_range_ = by_range_.done();
    next_->policies_ = policies_.done();
    next_->by_scope_ = by_scope_.done();
    finish_gone();
    ++next_->version_;
    if (policies_changed_) ++next_->policy_version_;
    return next_;
}

}  // namespace culvert::mesh
