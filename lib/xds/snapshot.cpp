#include "lib/xds/snapshot.h"

#include <unordered_set>

namespace culvert::xds {

namespace {

std::uint64_t hash(std::string_view name) { return mesh::hash_text(name); }

bool same(const ResourcePtr& a, const ResourcePtr& b) {
    // The chunk holds version, body, name and aliases; services and node follow from the body.
    return a == b || (a && b && a->chunk == b->chunk);
}

bool has(const std::vector<std::string>& list, std::string_view text) {
    return std::ranges::find(list, text) != list.end();
}

}  // namespace

ResourcePtr Snapshot::find(Type type, std::string_view name) const {
    const ResourcePtr* found =
        of(type).by_name.find(hash(name), [&](const ResourcePtr& each) { return each->name == name; });
    return found ? *found : nullptr;
}

void Snapshot::for_each(Type type, const std::function<void(const ResourcePtr&)>& visit) const {
    of(type).by_name.for_each(visit);
}

std::optional<std::vector<std::string>> Snapshot::changed_since(Type type, std::uint64_t sequence) const {
    std::vector<std::string> names;
    if (sequence == sequence_) return names;
    if (recent_.empty() || sequence > sequence_ || recent_.front()->sequence > sequence + 1)
        return std::nullopt;
    std::unordered_set<std::string_view> seen;
    for (const auto& changes : recent_) {
        if (changes->sequence <= sequence) continue;
        for (const std::string& name : changes->names[static_cast<std::size_t>(type)])
            if (seen.insert(name).second) names.push_back(name);
    }
    return names;
}

void Snapshot::for_each_alias(Type type, std::string_view alias,
                              const std::function<void(const ResourcePtr&)>& visit) const {
    of(type).by_alias.find(hash(alias), [&](const ResourcePtr& each) {
        if (has(each->aliases, alias)) visit(each);
        return false;
    });
}

void Snapshot::for_each_endpoint(std::string_view service,
                                 const std::function<void(const ResourcePtr&)>& visit) const {
    by_service_.find(hash(service), [&](const ResourcePtr& each) {
        if (has(each->services, service)) visit(each);
        return false;
    });
}

void Snapshot::for_each_on_node(std::string_view node,
                                const std::function<void(const ResourcePtr&)>& visit) const {
    by_node_.find(hash(node), [&](const ResourcePtr& each) {
        if (each->node == node) visit(each);
        return false;
    });
}

struct Publisher::Edit {
    using Tables = mesh::TableEdit<ResourcePtr>;
    struct OfType {
        Tables by_name;
        Tables by_alias;
    };
    explicit Edit(const Snapshot& base)
        : of{OfType{Tables(base.of_[0].by_name), Tables(base.of_[0].by_alias)},
             OfType{Tables(base.of_[1].by_name), Tables(base.of_[1].by_alias)}},
          by_service(base.by_service_), by_node(base.by_node_) {}

    void insert(const ResourcePtr& resource) {
        OfType& type = of[static_cast<std::size_t>(resource->type)];
        type.by_name.insert(hash(resource->name), resource);
        for (const std::string& alias : resource->aliases) type.by_alias.insert(hash(alias), resource);
        for (const std::string& service : resource->services) by_service.insert(hash(service), resource);
        if (!resource->node.empty()) by_node.insert(hash(resource->node), resource);
    }
    void erase(const ResourcePtr& resource) {
        auto is = [&](const ResourcePtr& each) { return each == resource; };
        OfType& type = of[static_cast<std::size_t>(resource->type)];
        type.by_name.erase(hash(resource->name), is);
        for (const std::string& alias : resource->aliases) type.by_alias.erase(hash(alias), is);
        for (const std::string& service : resource->services) by_service.erase(hash(service), is);
        if (!resource->node.empty()) by_node.erase(hash(resource->node), is);
    }

    std::array<OfType, types.size()> of;
    Tables by_service;
    Tables by_node;
    Snapshot::Changes changes;
};

Publisher::Publisher() : current_(std::make_shared<const Snapshot>()) {}
Publisher::~Publisher() = default;

void Publisher::set(ResourcePtr resource) {
    Type type = resource->type;
    std::string name = resource->name;
    replace(type, name, std::move(resource));
}

void Publisher::remove(Type type, std::string_view name) { replace(type, std::string(name), nullptr); }

void Publisher::replace(Type type, const std::string& name, ResourcePtr now) {
    auto is = [&](const ResourcePtr& each) { return each->name == name; };
    const auto& table =
        edit_ ? edit_->of[static_cast<std::size_t>(type)].by_name.now() : current_->of(type).by_name;
    const ResourcePtr* found = table.find(hash(name), is);
    ResourcePtr before = found ? *found : nullptr;
    if (same(before, now)) return;
    if (!edit_) edit_ = std::make_unique<Edit>(*current_);
    if (before) edit_->erase(before);
    if (now) edit_->insert(now);
    edit_->changes.names[static_cast<std::size_t>(type)].push_back(name);
}

SnapshotPtr Publisher::publish() {
    if (!edit_) return current_;
    auto next = std::make_shared<Snapshot>();
    next->sequence_ = current_->sequence_ + 1;
    for (std::size_t i = 0; i < types.size(); ++i) {
        next->of_[i].by_name = edit_->of[i].by_name.done();
        next->of_[i].by_alias = edit_->of[i].by_alias.done();
    }
    next->by_service_ = edit_->by_service.done();
    next->by_node_ = edit_->by_node.done();
    edit_->changes.sequence = next->sequence_;
    next->recent_ = current_->recent_;
    next->recent_.push_back(std::make_shared<const Snapshot::Changes>(std::move(edit_->changes)));
    trim(next->recent_);
    edit_.reset();
    current_ = std::move(next);
    return current_;
}

// Forgets the oldest changes: whoever is so far behind compares everything. A change of very many names is
// not worth remembering at all.
void Publisher::trim(std::vector<std::shared_ptr<const Snapshot::Changes>>& recent) {
    std::size_t names = 0;
    auto keep = recent.end();
    while (keep != recent.begin() && static_cast<std::size_t>(recent.end() - keep) < recent_max) {
        for (const auto& of : (*(keep - 1))->names) names += of.size();
        if (names > recent_names_max) break;
        --keep;
    }
    recent.erase(recent.begin(), keep);
}

}  // namespace culvert::xds
