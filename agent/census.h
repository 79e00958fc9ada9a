// The pods of this node: what the manifests say, matched with namespaces that exist and with what the kernel
// holds. One round() brings everything as far as it can go now; it is called whenever anything changed, and
// from time to time to see what nobody told us (style: level, not edge).
//
// A pod whose namespace vanished or was replaced is abandoned, not released: whatever still runs in there
// stays captured, and is refused, until the namespace dies. Only a manifest that says so takes a pod out of
// the mesh.
//
// Lives on the agent's loop. Bounded by the pods of the manifests (docs/limits.md: manifests) and
// CV_PODS_MAX.
#pragma once
#include "agent/pods.h"
#include "lib/kube/manifests.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace culvert::agent {

struct CensusOptions {
    std::string node_name;
    std::string manifests;
    std::string root_namespace;
    MembershipOptions membership;
    Sweeping sweeping = Sweeping::strict;
    std::uint64_t node_cookie = 0;
};

class Census {
public:
    Census(CensusOptions options, Kernel& kernel, Ztunnels& ztunnels, const Clock& clock = system_clock());

    void learn(kube::SnapshotPtr snapshot);
    void round();
    bool settled() const;  // nobody waits for anything
    // One of the pods' addresses changed: see it at once (S5). The pod is told by the descriptor that became
    // readable.
    void addresses_changed(int watch);

    const std::map<std::string, std::unique_ptr<Pod>>& pods() const { return pods_; }  // by "namespace/name"
    const std::vector<std::string>& abandoned() const { return abandoned_; }
    bool knows_manifests() const { return !!snapshot_; }
    const std::vector<kube::Problem>& problems() const { return problems_; }
    std::string name_of(std::uint32_t slot) const;  // "" if nobody has it
    std::vector<int> watches() const;

private:
    std::map<std::string, PodSpec> specs_of(const kube::Snapshot& snapshot) const;
    void follow_manifests();
    void find_namespace(Pod& pod);
    void settle_claims();
    void keep_out(Pod& pod, std::string reason);
    bool lives(const std::string& name, std::uint64_t cookie) const;
    void look_after(Pod& pod);
    void abandon(Pod& pod);
    void retire(std::unique_ptr<Pod> pod);
    void drop_leftovers();
    Circumstances now() const;

    CensusOptions options_;
    Kernel& kernel_;
    Ztunnels& ztunnels_;
    const Clock& clock_;
    kube::SnapshotPtr snapshot_;  // the last that could be believed
    bool changed_ = false;
    bool whole_ = false;  // it had files and no errors: what it does not name does not exist
    std::vector<kube::Problem> problems_;
    std::map<std::string, std::unique_ptr<Pod>> pods_;
    std::vector<std::unique_ptr<Pod>> leaving_;  // taken out of the manifests, not yet out of the mesh
    std::vector<std::string> abandoned_;
    std::set<std::uint64_t> contested_;  // namespaces that several pods want and none has
};

}  // namespace culvert::agent
