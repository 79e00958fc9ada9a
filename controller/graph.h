// The incremental graph: which outputs depend on which objects, and nothing recomputed that a change does not
// touch.
//
// For each object there is one derivation: a pure rule (sources/) that turns it into outputs, asking the
// store for whatever else it needs. The graph records what each derivation asked. A change touches places of
// the store's indexes; the derivations that asked for one of them, and the object's own, are computed again
// at the next flush, however many changes came in between. The result always equals a graph built from
// scratch from the same objects: a test says so.
//
// One Graph, on the graph's thread alone. Bounded by the objects of the mesh: about 1 KB a pod beside the
// object.
#pragma once
#include "controller/store.h"
#include "lib/kube/manifests.h"
#include "lib/mesh/policy.h"
#include "lib/mesh/service.h"
#include "lib/mesh/workload.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace culvert::controller {

using Output = std::variant<mesh::Workload, mesh::Service, mesh::Policy>;

// What names an output: its xDS resource (wire fact X-15). Workloads and services are one type there.
struct OutputKey {
    enum class Type : std::uint8_t { address, authorization };
    Type type{};
    std::string name;
    auto operator<=>(const OutputKey&) const = default;
};
OutputKey key_of(const Output& output);

// What one derivation made: outputs, and remarks for status (a policy that is enforced in part, a service
// without ports).
struct Made {
    std::vector<Output> outputs;
    std::vector<kube::Problem> notes;
};

// A rule's view of the store. Everything it learns here it has asked for, and will be run again when that
// changes.
class Ask {
public:
    Ask(const Store& store, std::vector<Place>& asked) : store_(store), asked_(asked) {}

    template <class T> const T* one(kube::Kind kind, std::string_view name_space, std::string_view name) {
        kube::Key key{kind, std::string(name_space), std::string(name)};
        asked_.push_back({Index::object, key.to_string()});
        const kube::Object* found = store_.find(key);
        return found ? std::get_if<T>(found) : nullptr;
    }
    // Those of type T at a place, in the order of their keys.
    template <class T> std::vector<const T*> at(Index index, std::string key) {
        asked_.push_back({index, std::move(key)});
        return found<T>(asked_.back());
    }
    // Those of type T in the namespace whose selector, as `T` has it, selects `labels`; never by an empty
    // selector.
    template <class T>
    std::vector<const T*> selecting(std::string_view name_space, const kube::Labels& labels) {
        std::vector<const T*> out;
        for (const auto& [label, value] : labels)
            for (const T* one : at<T>(Index::selecting, selecting_key(name_space, label, value)))
                if (kube::selects(selector_of(*one), labels)) out.push_back(one);
        return out;
    }
    const Mesh& mesh() const { return store_.mesh(); }

private:
    template <class T> std::vector<const T*> found(const Place& place) const {
        std::vector<const T*> out;
        for (const kube::Key& key : store_.at(place))
            if (const T* one = std::get_if<T>(store_.find(key))) out.push_back(one);
        return out;
    }
    static const kube::Labels& selector_of(const kube::Service& one) { return one.selector; }
    static const kube::Labels& selector_of(const kube::ServiceEntry& one) { return *one.workload_selector; }
    static const kube::Labels& selector_of(const kube::AuthorizationPolicy& one) { return *one.selector; }
    static const kube::Labels& selector_of(const kube::PeerAuthentication& one) { return *one.selector; }

    const Store& store_;
    std::vector<Place>& asked_;
};

class Graph {
public:
    explicit Graph(Mesh mesh);

    void set(kube::ObjectPtr object);
    void erase(const kube::Key& key);

    // What the changes since the last flush led to. An output that was computed again and is what it was may
    // be among `set`: the publisher sees that by its content.
    struct Changes {
        std::vector<Output> set;
        std::vector<OutputKey> removed;
        bool notes_changed = false;
        std::size_t recomputed = 0;  // derivations
    };
    Changes flush();

    const Store& store() const { return store_; }
    std::vector<kube::Problem> notes() const;

private:
    struct Derivation {
        kube::Key subject;
        std::vector<std::uint64_t>
            asked;  // hashes of places, ascending: a collision costs one computation too many
        std::vector<OutputKey> made;  // ascending
        std::vector<kube::Problem> notes;
        bool dirty = false;
    };
    void touch(const std::vector<Place>& places);
    void mark(Derivation& derivation);
    Made compute(const Derivation& derivation, std::vector<Place>& asked) const;
    void replace_asked(Derivation& derivation, const std::vector<Place>& asked);
    void forget_asked(Derivation& derivation);

    Store store_;
    std::map<kube::Key, Derivation> derivations_;  // nodes never move
    std::unordered_map<std::uint64_t, std::unordered_set<Derivation*>> askers_;
    std::vector<Derivation*> dirty_;
};

}  // namespace culvert::controller
