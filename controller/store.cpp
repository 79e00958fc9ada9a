#include "controller/store.h"

#include "controller/translate/entry.h"

#include <algorithm>

namespace culvert::controller {
namespace {

using namespace culvert::kube;

// A selector is indexed by its first pair: whoever carries all of its labels asks for that one too.
void add_selecting(std::vector<Place>& out, const Metadata& metadata, const Labels& selector) {
    if (selector.empty()) return;
    const auto& [label, value] = *selector.begin();
    out.push_back({Index::selecting, selecting_key(metadata.name_space, label, value)});
}

void add(std::vector<Place>&, const Namespace&, const Mesh&) {}
void add(std::vector<Place>&, const Node&, const Mesh&) {}

void add(std::vector<Place>& out, const Pod& pod, const Mesh&) {
    if (!pod.node.empty()) out.push_back({Index::node, pod.node});
    if (pod.host_network) return;  // shares its addresses with the node
    for (const Ip& ip : pod.ips) out.push_back({Index::address, ip.to_string()});
}

void add(std::vector<Place>& out, const Service& service, const Mesh& mesh) {
    if (service.external_name) return;
    add_selecting(out, service.metadata, service.selector);
    out.push_back({Index::host, service_host(service.metadata, mesh)});
    for (const Ip& ip : service.cluster_ips) out.push_back({Index::vip, ip.to_string()});
}

void add(std::vector<Place>& out, const EndpointSlice& slice, const Mesh&) {
    if (slice.service.empty() || slice.fqdn) return;
    for (const SliceEndpoint& endpoint : slice.endpoints)
        if (endpoint.target && endpoint.target->kind == "Pod")
            out.push_back({Index::slices_of,
                           Key{Kind::pod, endpoint.target->name_space, endpoint.target->name}.to_string()});
}

void add(std::vector<Place>& out, const ServiceEntry& entry, const Mesh&) {
    if (entry.workload_selector) add_selecting(out, entry.metadata, *entry.workload_selector);
    for (const std::string& host : entry.hosts) {
        out.push_back({Index::host, host});
        if (translate::wants_automatic_vip(entry, host))
            out.push_back({Index::automatic, std::to_string(translate::automatic_slot(host))});
    }
}

void add(std::vector<Place>& out, const AuthorizationPolicy& policy, const Mesh&) {
    if (policy.selector) add_selecting(out, policy.metadata, *policy.selector);
    for (const ObjectRef& target : policy.target_refs)
        out.push_back({Index::targeting,
                       target.kind + " " +
                           (target.name_space.empty() ? policy.metadata.name_space : target.name_space) +
                           "/" + target.name});
}

void add(std::vector<Place>& out, const PeerAuthentication& policy, const Mesh&) {
    if (policy.selector && !policy.selector->empty())
        add_selecting(out, policy.metadata, *policy.selector);
    else
        out.push_back({Index::selecting, policy.metadata.name_space + "|"});
}

}  // namespace

std::string service_host(const kube::Metadata& service, const Mesh& mesh) {
    return service.name + "." + service.name_space + ".svc." + mesh.cluster_domain;
}

std::string selecting_key(std::string_view name_space, std::string_view label, std::string_view value) {
    std::string out(name_space);
    out += '|';
    out += label;
    out += '=';
    return out += value;
}

std::vector<Place> places_of(const kube::Object& object, const Mesh& mesh) {
    std::vector<Place> out;
    out.push_back({Index::object, kube::key_of(object).to_string()});
    out.push_back({Index::kind, std::string(kube::word(kube::kind_of(object)))});
    std::visit([&](const auto& one) { add(out, one, mesh); }, object);
    std::ranges::sort(out);
    out.erase(std::ranges::unique(out).begin(), out.end());
    return out;
}

std::size_t Store::Hash::operator()(const Place& place) const noexcept {
    return std::hash<std::string>()(place.key) * 31 + static_cast<std::size_t>(place.index);
}

const kube::Object* Store::find(const kube::Key& key) const {
    auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : found->second.get();
}

const std::set<kube::Key>& Store::at(const Place& place) const {
    static const std::set<kube::Key> none;
    auto found = index_.find(place);
    return found == index_.end() ? none : found->second;
}

std::vector<Place> Store::set(kube::ObjectPtr object) {
    const kube::Key key = kube::key_of(*object);
    kube::ObjectPtr& slot = objects_[key];
    if (slot && (slot == object || *slot == *object)) return {};
    std::vector<Place> touched = slot ? erase(key) : std::vector<Place>();
    std::vector<Place> now = places_of(*object, mesh_);
    for (const Place& place : now) index_[place].insert(key);
    objects_[key] = std::move(object);
    touched.insert(touched.end(), now.begin(), now.end());
    std::ranges::sort(touched);
    touched.erase(std::ranges::unique(touched).begin(), touched.end());
    return touched;
}

std::vector<Place> Store::erase(const kube::Key& key) {
    auto found = objects_.find(key);
    if (found == objects_.end()) return {};
    std::vector<Place> touched;
    if (found->second) touched = places_of(*found->second, mesh_);
    for (const Place& place : touched) {
        auto at = index_.find(place);
        at->second.erase(key);
        if (at->second.empty()) index_.erase(at);
    }
    objects_.erase(found);
    return touched;
}

}  // namespace culvert::controller
