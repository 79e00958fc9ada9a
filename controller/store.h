// The objects of the mesh by key, and where else they can be found: by host name, by what they select, by
// pod, address and node. Owned by the graph, used on the graph's thread alone. Objects are immutable values
// shared with whoever read them.
//
// A Place is one entry of an index. What an object occupies is a pure function of it, so a change touches
// exactly the places of the old and of the new object: that is what the graph recomputes by. Bounded by the
// objects of the mesh.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/objects.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::controller {

enum class Index : std::uint8_t {
    object,     // "Pod shop/web": this very object
    kind,       // "PeerAuthentication": all of the kind
    selecting,  // "shop|app=web": objects of the namespace whose selector's first pair this is; "shop|":
                // PeerAuthentications without a selector
    targeting,  // "Service shop/web": policies that name this object as their target
    host,       // "web.shop.svc.cluster.local": Services and ServiceEntries of that name
    slices_of,  // "Pod shop/web": EndpointSlices with this pod
    address,    // "10.0.0.1": pods of their own network with this address
    vip,        // "10.1.0.1": Services with this cluster IP
    node,       // "n1": pods there
    automatic,  // "4711": hosts of ServiceEntries whose automatic VIP would be this one
};

struct Place {
    Index index{};
    std::string key;
    auto operator<=>(const Place&) const = default;
};

class Store {
public:
    explicit Store(Mesh mesh) : mesh_(std::move(mesh)) {}

    // Both return the places that the change touched, each once; none when nothing changed.
    std::vector<Place> set(kube::ObjectPtr object);
    std::vector<Place> erase(const kube::Key& key);

    const kube::Object* find(const kube::Key& key) const;
    const std::set<kube::Key>& at(const Place& place) const;
    const std::map<kube::Key, kube::ObjectPtr>& objects() const { return objects_; }
    const Mesh& mesh() const { return mesh_; }

private:
    struct Hash {
        std::size_t operator()(const Place& place) const noexcept;
    };

    Mesh mesh_;
    std::map<kube::Key, kube::ObjectPtr> objects_;
    std::unordered_map<Place, std::set<kube::Key>, Hash> index_;
};

// Which places an object occupies.
std::vector<Place> places_of(const kube::Object& object, const Mesh& mesh);

// "web.shop.svc.cluster.local"
std::string service_host(const kube::Metadata& service, const Mesh& mesh);
// "shop|app=web"
std::string selecting_key(std::string_view name_space, std::string_view label, std::string_view value);

}  // namespace culvert::controller
