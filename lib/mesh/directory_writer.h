// Makes the next snapshot of the directory from the last one and a delta. Belongs to one thread (the xDS
// client's, or whoever loads a static directory); what it returns may be read anywhere.
//
// A delta is applied as X-10 says: resources in their order, then removals, then the endpoints of services.
// The result equals a directory built from scratch from the same resources in the order in which they first
// arrived, except for what only history knows: was_hbone().
#pragma once
#include "lib/mesh/directory.h"

#include <deque>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace culvert::mesh {

struct NamedPolicy {
    std::string key;  // the xDS resource name
    Policy value;
};

// What one or several responses brought; all parts may be empty.
struct Delta {
    std::vector<std::variant<Workload, Service>> addresses;  // in the order of the response
    std::vector<std::string> removed_addresses;  // a workload's uid, or "namespace/hostname"
    std::vector<NamedPolicy> policies;
    std::vector<std::string> removed_policies;
    bool addresses_complete =
        false;  // the first answer to a wildcard subscription has been applied with this delta
    bool policies_complete = false;
};

class DirectoryWriter {
public:
    // Addresses of removed HBONE workloads that we remember (S14). docs/limits.md: directory.gone
    static constexpr std::size_t gone_max = 65'536;

    DirectoryWriter();
    ~DirectoryWriter();
    DirectoryWriter(const DirectoryWriter&) = delete;

    DirectoryPtr current() const { return current_; }
    DirectoryPtr apply(const Delta& delta);
    // Names in removed_addresses that nobody had: a warning for the log, of the last apply().
    std::size_t unknown_removals() const { return unknown_removals_; }

private:
    class Edit;
    std::shared_ptr<const Workload> shared_kind(const Workload& value);
    std::shared_ptr<const Place> shared_place(const Workload& value);
    void sweep();

    DirectoryPtr current_;
    std::unordered_multimap<std::size_t, std::weak_ptr<const Workload>> kinds_;
    std::unordered_multimap<std::size_t, std::weak_ptr<const Place>> places_;
    std::size_t sweep_at_ = 1024;  // when kinds_ and places_ have grown to this, the dead ones are swept out
    std::deque<Directory::Gone> gone_order_;  // oldest first; may name addresses that came back
    std::uint64_t next_order_ = 1;
    std::size_t unknown_removals_ = 0;
};

}  // namespace culvert::mesh
