// Which pods are enrolled, as the agents of their nodes say (decision 9). A node speaks for its own pods
// only, and its word becomes Istio's annotation on the pod, so that everything behind does not know whether
// an agent or the API server said it.
//
// What was said is kept in the state directory, one file a node: after a restart the mesh must not tell
// anyone that an enrolled pod takes plaintext. On the graph's thread alone. Bounded: pods_of_node_max a node,
// nodes by the tokens that we gave out.
#pragma once
#include "lib/base/result.h"
#include "lib/kube/objects.h"
#include "lib/xds/transport.h"

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace culvert::controller {

struct Enrolment {
    std::string name;  // "shop/web"
    bool enrolled = false;
    std::string reason;  // why not
    bool operator==(const Enrolment&) const = default;
};

class Enrolments {
public:
    static constexpr std::size_t pods_of_node_max = 4096;

    // Reads what is there; `directory` is made if it is missing.
    static Result<Enrolments> open(std::string directory);

    // Takes a report of `node`. Returns the names ("shop/web") of the pods about which something changed. A
    // report with impossible names is refused with bad_input, one with too many with limit; neither changes
    // anything.
    Result<std::vector<std::string>> apply(const std::string& node, const xds::Report& report);
    // To disk, before the mesh is told. Fails with io.
    Result<Done> save(const std::string& node) const;
    // Nothing counts any more that other nodes said. Returns the names of their pods.
    std::vector<std::string> keep_only(const std::set<std::string, std::less<>>& nodes);

    // The pod as the mesh shall see it: with Istio's annotation if its own node says that this very pod is
    // enrolled, without it whatever the manifest says.
    kube::ObjectPtr seen(const kube::ObjectPtr& pod) const;
    // What a node said, by the pods' uids: two pods may share a name while one replaces the other.
    using Said = std::map<std::string, Enrolment, std::less<>>;
    const Said& of(const std::string& node) const;

private:
    explicit Enrolments(std::string directory) : directory_(std::move(directory)) {}
    bool enrolled(const kube::Pod& pod) const;

    std::string directory_;
    std::map<std::string, Said> nodes_;
};

}  // namespace culvert::controller
