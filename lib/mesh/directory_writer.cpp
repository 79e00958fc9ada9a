#include "lib/mesh/directory_writer.h"

#include "lib/mesh/directory_edit.h"
#include "lib/mesh/directory_keys.h"

namespace culvert::mesh {

namespace {

// Cheap and good enough to tell Deployments apart; equality decides.
std::size_t hash_kind(const Workload& kind) {
    std::uint64_t hash = keys::pair(kind.name_space, kind.workload_name);
    hash = hash_text(kind.canonical_revision, hash_text(kind.service_account, hash));
    for (const auto& [key, ports] : kind.services) hash = hash_text(key.hostname, hash);
    return hash;
}

std::size_t hash_place(const Place& place) { return hash_text(place.locality.zone, hash_text(place.node)); }

// The value equal to `wanted` that `pool` still holds, or `wanted` itself, which it holds from now on.
template <class T>
std::shared_ptr<const T> share(std::unordered_multimap<std::size_t, std::weak_ptr<const T>>& pool,
                               std::size_t hash, T wanted) {
    auto [from, to] = pool.equal_range(hash);
    for (auto at = from; at != to; ++at)
        if (auto held = at->second.lock(); held && *held == wanted) return held;
    auto fresh = std::make_shared<const T>(std::move(wanted));
    pool.emplace(hash, fresh);
    return fresh;
}

}  // namespace

DirectoryWriter::DirectoryWriter() : current_(std::make_shared<const Directory>()) {}
DirectoryWriter::~DirectoryWriter() = default;

DirectoryPtr DirectoryWriter::apply(const Delta& delta) {
    Edit edit(*this);
    for (const auto& resource : delta.addresses)
        std::visit([&](const auto& value) { edit.put(value); }, resource);
    unknown_removals_ = 0;
    for (const std::string& name : delta.removed_addresses)
        if (!edit.remove_address(name)) ++unknown_removals_;
    for (const NamedPolicy& policy : delta.policies) edit.put(policy);
    for (const std::string& key : delta.removed_policies) edit.remove_policy(key);
    edit.synced(delta);
    current_ = edit.done();
    sweep();
    return current_;
}

void DirectoryWriter::sweep() {
    if (kinds_.size() + places_.size() < sweep_at_) return;
    std::erase_if(kinds_, [](const auto& entry) { return entry.second.expired(); });
    std::erase_if(places_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max<std::size_t>(1024, 2 * (kinds_.size() + places_.size()));
}

std::shared_ptr<const Workload> DirectoryWriter::shared_kind(const Workload& value) {
    Workload kind = kind_of(value);
    std::size_t hash = hash_kind(kind);
    return share(kinds_, hash, std::move(kind));
}

std::shared_ptr<const Place> DirectoryWriter::shared_place(const Workload& value) {
    Place place{value.node, value.locality};
    std::size_t hash = hash_place(place);
    return share(places_, hash, std::move(place));
}

}  // namespace culvert::mesh
