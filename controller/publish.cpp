#include "controller/publish.h"

#include "lib/xds/resources.h"

namespace culvert::controller {

void Publish::apply(const Graph::Changes& changes) {
    for (const OutputKey& key : changes.removed) {
        const bool policy = key.type == OutputKey::Type::authorization;
        publisher_.remove(policy ? xds::Type::authorization : xds::Type::address, key.name);
    }
    for (const Output& output : changes.set)
        publisher_.set(std::visit([](const auto& one) { return xds::encode(one); }, output));
    const std::uint64_t before = publisher_.current()->sequence();
    xds::SnapshotPtr now = publisher_.publish();
    if (std::exchange(sent_, true) && now->sequence() == before) return;
    out_(std::move(now));
}

}  // namespace culvert::controller
