// The compact form of a workload: directory.h.
#include "lib/base/check.h"
#include "lib/mesh/directory.h"

#include <algorithm>

namespace culvert::mesh {

WorkloadRecord::WorkloadRecord(const Workload& value, std::shared_ptr<const Workload> kind,
                               std::shared_ptr<const Place> place)
    : uid_size_(static_cast<std::uint32_t>(value.uid.size())),
      name_size_(static_cast<std::uint32_t>(value.name.size())), health_(value.health),
      kind_(std::move(kind)), place_(std::move(place)) {
    bool name_is_tail = value.uid.ends_with(value.name);  // so it is for pods: cluster//Pod/namespace/name
    text_size_ = uid_size_ + (name_is_tail ? 0 : name_size_);
    text_ = std::make_unique_for_overwrite<char[]>(text_size_);
    std::ranges::copy(value.uid, text_.get());
    if (!name_is_tail) std::ranges::copy(value.name, text_.get() + uid_size_);
    if (value.addresses.size() <= few_.size()) {
        std::ranges::copy(value.addresses, few_.begin());
        addresses_size_ = static_cast<std::uint8_t>(value.addresses.size());
    } else {
        many_ = std::make_unique<std::vector<Ip>>(value.addresses);
    }
}

std::span<const Ip> WorkloadRecord::addresses() const {
    return many_ ? std::span<const Ip>(*many_) : std::span<const Ip>(few_).first(addresses_size_);
}

bool WorkloadRecord::owns(Ip ip) const { return std::ranges::find(addresses(), ip) != addresses().end(); }

const Ports* WorkloadRecord::service_ports(const ServiceKey& key) const {
    auto at = kind_->services.find(key);
    return at == kind_->services.end() ? nullptr : &at->second;
}

Workload WorkloadRecord::value() const {
    Workload value = *kind_;
    value.uid = uid();
    value.name = name();
    value.addresses.assign(addresses().begin(), addresses().end());
    value.node = node();
    value.locality = locality();
    value.health = health_;
    return value;
}

Workload kind_of(const Workload& value) {
    Workload kind = value;
    kind.uid.clear();
    kind.name.clear();
    kind.addresses.clear();
    kind.node.clear();
    kind.locality = {};
    kind.health = Health::healthy;
    return kind;
}

WorkloadPtr make_record(const Workload& value) {
    auto kind = std::make_shared<const Workload>(kind_of(value));
    auto place = std::make_shared<const Place>(Place{value.node, value.locality});
    return WorkloadPtr(new WorkloadRecord(value, std::move(kind), std::move(place)));
}

}  // namespace culvert::mesh
