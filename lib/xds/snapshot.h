// What a controller publishes: every resource by name, as an immutable snapshot that all streams share, and
// what changed lately, so that a stream that is a few snapshots behind finds its delta without comparing
// everything.
//
// One Publisher, used by the controller's graph thread alone; a Snapshot may be read from any thread and
// never changes. A change copies one shard of a two-level table (lib/mesh/table.h). Sizes are bounded by the
// objects of the mesh.
#pragma once
#include "lib/mesh/table.h"
#include "lib/xds/messages.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::xds {

class Snapshot {
public:
    struct Changes {
        std::uint64_t sequence = 0;  // of the snapshot that they led to
        std::array<std::vector<std::string>, types.size()> names;
    };

    std::uint64_t sequence() const { return sequence_; }
    std::size_t size(Type type) const { return of(type).by_name.size(); }
    ResourcePtr find(Type type, std::string_view name) const;  // null: none
    void for_each(Type type, const std::function<void(const ResourcePtr&)>& visit) const;

    // Names that may differ between the snapshot `sequence` and this one, in the order of their first change;
    // none: too long ago, compare everything.
    std::optional<std::vector<std::string>> changed_since(Type type, std::uint64_t sequence) const;

    // X-18, by alias, by service and by node; in no order.
    void for_each_alias(Type type, std::string_view alias,
                        const std::function<void(const ResourcePtr&)>& visit) const;
    void for_each_endpoint(std::string_view service,
                           const std::function<void(const ResourcePtr&)>& visit) const;
    void for_each_on_node(std::string_view node, const std::function<void(const ResourcePtr&)>& visit) const;

private:
    friend class Publisher;
    struct OfType {
        mesh::Table<ResourcePtr> by_name;
        mesh::Table<ResourcePtr> by_alias;  // once for each of its aliases
    };
    const OfType& of(Type type) const { return of_[static_cast<std::size_t>(type)]; }

    std::uint64_t sequence_ = 0;
    std::array<OfType, types.size()> of_;
    mesh::Table<ResourcePtr> by_service_;
    mesh::Table<ResourcePtr> by_node_;
    std::vector<std::shared_ptr<const Changes>> recent_;  // ascending, without gaps, ends with sequence_
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

class Publisher {
public:
    static constexpr std::size_t recent_max = 256;           // docs/limits.md: xds.recent_changes
    static constexpr std::size_t recent_names_max = 65'536;  // docs/limits.md: xds.recent_names

    Publisher();
    ~Publisher();
    Publisher(const Publisher&) = delete;

    // In force with the next publish(). A resource that equals the published one is no change.
    void set(ResourcePtr resource);
    void remove(Type type, std::string_view name);
    // The next snapshot, or the current one when nothing changed.
    SnapshotPtr publish();
    const SnapshotPtr& current() const { return current_; }

private:
    struct Edit;
    void replace(Type type, const std::string& name, ResourcePtr now);
    static void trim(std::vector<std::shared_ptr<const Snapshot::Changes>>& recent);

    SnapshotPtr current_;
    std::unique_ptr<Edit> edit_;  // null: nothing changed since current_
};

}  // namespace culvert::xds
