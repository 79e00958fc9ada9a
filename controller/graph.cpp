#include "controller/graph.h"

#include "controller/rules.h"
#include "lib/base/check.h"
#include "lib/mesh/table.h"

#include <algorithm>

namespace culvert::controller {
namespace {

// No object has this key: names are never empty.
const kube::Key static_strict{kube::Kind::peer_authentication, "", ""};

std::uint64_t hash_of(const Place& place) {
    return mesh::hash_text(place.key, 0xcbf29ce484222325 + static_cast<std::uint64_t>(place.index));
}

}  // namespace

OutputKey key_of(const Output& output) {
    struct Namer {
        OutputKey operator()(const mesh::Workload& one) const { return {OutputKey::Type::address, one.uid}; }
        OutputKey operator()(const mesh::Service& one) const {
            return {OutputKey::Type::address, one.key().to_string()};
        }
        OutputKey operator()(const mesh::Policy& one) const {
            return {OutputKey::Type::authorization, one.name_space + "/" + one.name};
        }
    };
    return std::visit(Namer(), output);
}

Graph::Graph(Mesh mesh) : store_(std::move(mesh)) {
    auto [at, fresh] = derivations_.try_emplace(static_strict);
    at->second.subject = static_strict;
    mark(at->second);
}

void Graph::set(kube::ObjectPtr object) {
    kube::Key key = kube::key_of(*object);
    const std::vector<Place> touched = store_.set(std::move(object));
    if (touched.empty()) return;
    auto [at, fresh] = derivations_.try_emplace(std::move(key));
    if (fresh) at->second.subject = at->first;
    mark(at->second);
    touch(touched);
}

void Graph::erase(const kube::Key& key) {
    const std::vector<Place> touched = store_.erase(key);
    if (touched.empty()) return;
    mark(derivations_.at(key));  // the next flush takes back what it made
    touch(touched);
}

void Graph::touch(const std::vector<Place>& places) {
    for (const Place& place : places) {
        auto askers = askers_.find(hash_of(place));
        if (askers == askers_.end()) continue;
        for (Derivation* one : askers->second) mark(*one);
    }
}

void Graph::mark(Derivation& derivation) {
    if (derivation.dirty) return;
    derivation.dirty = true;
    dirty_.push_back(&derivation);
}

Made Graph::compute(const Derivation& derivation, std::vector<Place>& asked) const {
    Ask ask(store_, asked);
    if (derivation.subject == static_strict) return derive_static_strict(ask);
    const kube::Object* object = store_.find(derivation.subject);
    if (!object) return {};
    return std::visit([&](const auto& one) { return derive(one, ask); }, *object);
}

void Graph::replace_asked(Derivation& derivation, const std::vector<Place>& asked) {
    std::vector<std::uint64_t> now;
    for (const Place& place : asked) now.push_back(hash_of(place));
    std::ranges::sort(now);
    now.erase(std::ranges::unique(now).begin(), now.end());
    if (now == derivation.asked) return;
    forget_asked(derivation);
    for (std::uint64_t hash : now) askers_[hash].insert(&derivation);
    derivation.asked = std::move(now);
}

void Graph::forget_asked(Derivation& derivation) {
    for (std::uint64_t hash : derivation.asked) {
        auto at = askers_.find(hash);
        at->second.erase(&derivation);
        if (at->second.empty()) askers_.erase(at);
    }
    derivation.asked.clear();
}

Graph::Changes Graph::flush() {
    Changes changes;
    std::ranges::sort(dirty_, {}, [](const Derivation* one) -> const kube::Key& { return one->subject; });
    std::map<OutputKey, Output> made;
    std::vector<OutputKey> before;
    for (Derivation* one : std::exchange(dirty_, {})) {
        std::vector<Place> asked;
        Made now = compute(*one, asked);
        before.insert(before.end(), one->made.begin(), one->made.end());
        one->made.clear();
        for (Output& output : now.outputs) {
            OutputKey key = key_of(output);
            // Two rules never give out one name (rules see to it by asking who else would).
            const bool fresh = made.try_emplace(key, std::move(output)).second;
            check(fresh);
            one->made.push_back(std::move(key));
        }
        std::ranges::sort(one->made);
        if (one->notes != now.notes) {
            one->notes = std::move(now.notes);
            changes.notes_changed = true;
        }
        ++changes.recomputed;
        one->dirty = false;
        replace_asked(*one, asked);
        if (one->subject == static_strict || store_.find(one->subject)) continue;
        forget_asked(*one);
        derivations_.erase(derivations_.find(one->subject));
    }
    for (OutputKey& key : before)
        if (!made.contains(key)) changes.removed.push_back(std::move(key));
    for (auto& [key, output] : made) changes.set.push_back(std::move(output));
    return changes;
}

std::vector<kube::Problem> Graph::notes() const {
    std::vector<kube::Problem> out;
    for (const auto& [key, derivation] : derivations_)
        out.insert(out.end(), derivation.notes.begin(), derivation.notes.end());
    return out;
}

}  // namespace culvert::controller
