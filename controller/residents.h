// Which identities live on which node: what the authority asks before it signs (wire fact CA-6), and which
// nodes exist at all: what it asks before it believes a token. Written by the graph's thread, read by gRPC's:
// everything under one lock, held for a look-up. Bounded by the pods and nodes of the mesh.
#pragma once
#include "lib/kube/objects.h"

#include <compare>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace culvert::controller {

// A service account, which is what a pod's identity is made of.
struct Account {
    std::string name_space;
    std::string name;
    auto operator<=>(const Account&) const = default;
};

class Residents {
public:
    // An object came, changed or went; null: was not, is not any more. Objects that are neither pods nor
    // nodes are ignored.
    void replace(const kube::Object* before, const kube::Object* now);

    bool knows(std::string_view node) const;
    // A pod that runs or is about to, on its own network, with this account, is on the node. Finished pods do
    // not count (a gap of the reference).
    bool lives_on(std::string_view node, const Account& account) const;
    std::set<std::string, std::less<>> nodes() const;

private:
    mutable std::mutex lock_;
    std::set<std::string, std::less<>> nodes_;
    std::map<std::string, std::map<Account, std::size_t>, std::less<>> accounts_;  // node → account → pods
};

}  // namespace culvert::controller
