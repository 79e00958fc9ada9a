#include "controller/residents.h"

namespace culvert::controller {
namespace {

// Null: gives nobody an identity.
const kube::Pod* living(const kube::Object* object) {
    const auto* pod = object ? std::get_if<kube::Pod>(object) : nullptr;
    if (!pod || pod->node.empty() || pod->host_network) return nullptr;
    return pod->phase == kube::Phase::succeeded || pod->phase == kube::Phase::failed ? nullptr : pod;
}

}  // namespace

void Residents::replace(const kube::Object* before, const kube::Object* now) {
    const std::lock_guard guard(lock_);
    if (const auto* node = before ? std::get_if<kube::Node>(before) : nullptr)
        nodes_.erase(node->metadata.name);
    if (const auto* node = now ? std::get_if<kube::Node>(now) : nullptr) nodes_.insert(node->metadata.name);
    if (const kube::Pod* pod = living(before)) {
        auto node = accounts_.find(pod->node);
        auto account = node->second.find({pod->metadata.name_space, pod->service_account});
        if (--account->second == 0) node->second.erase(account);
        if (node->second.empty()) accounts_.erase(node);
    }
    if (const kube::Pod* pod = living(now))
        ++accounts_[pod->node][{pod->metadata.name_space, pod->service_account}];
}

bool Residents::knows(std::string_view node) const {
    const std::lock_guard guard(lock_);
    return nodes_.contains(node);
}

bool Residents::lives_on(std::string_view node, const Account& account) const {
    const std::lock_guard guard(lock_);
    auto found = accounts_.find(node);
    return found != accounts_.end() && found->second.contains(account);
}

std::set<std::string, std::less<>> Residents::nodes() const {
    const std::lock_guard guard(lock_);
    return nodes_;
}

}  // namespace culvert::controller
