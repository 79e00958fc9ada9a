#include "controller/sources/shared.h"

#include "controller/rules.h"
#include "controller/translate/entry.h"
#include "controller/translate/policy.h"
#include "controller/translate/service.h"
#include "controller/translate/workload.h"

#include <algorithm>

namespace culvert::controller {
namespace {

constexpr std::uint16_t hbone_port = 15008;

std::string label_or(const kube::Metadata& object, const kube::Namespace* name_space, std::string_view name) {
    const std::string_view own = translate::value_of(object.labels, name);
    if (!own.empty()) return std::string(own);
    return name_space ? std::string(translate::value_of(name_space->metadata.labels, name)) : std::string();
}

// A policy that decides about connections names this object: "Service shop/web".
bool is_target(std::string key, Ask& ask) {
    return std::ranges::any_of(ask.at<kube::AuthorizationPolicy>(Index::targeting, std::move(key)),
                               [](const auto* policy) { return translate::is_enforced(*policy); });
}

// The oldest of those that claim the address (decision 14); null: `about` itself. Between Services and
// ServiceEntries the client's namespace decides (O-27).
const kube::Metadata* address_owner(const kube::Metadata& about, kube::Kind kind, const std::string& ip,
                                    Ask& ask) {
    const kube::Metadata* owner = &about;
    auto challenge = [&](const kube::Metadata& other) {
        if (kube::older(other, *owner)) owner = &other;
    };
    if (kind == kube::Kind::service)
        for (const auto* service : ask.at<kube::Service>(Index::vip, ip))
            if (is_published(*service)) challenge(service->metadata);
    for (const auto* pod : ask.at<kube::Pod>(Index::address, ip))
        if (translate::has_workload(*pod)) challenge(pod->metadata);
    return owner == &about ? nullptr : owner;
}

}  // namespace

kube::Problem note(const kube::Metadata& about, kube::Kind kind, std::string field, std::string message,
                   std::string fix) {
    return {kube::Problem::Severity::warning,
            about.origin.file,
            about.origin.line,
            kube::Key{kind, about.name_space, about.name}.to_string(),
            std::move(field),
            std::move(message),
            std::move(fix)};
}

std::vector<std::string> won_hosts(const kube::ServiceEntry& entry, Ask& ask) {
    std::vector<std::string> won;
    if (translate::hidden(entry.export_to)) return won;
    auto wins_against = [&](const kube::ServiceEntry* other) {
        if (other->metadata.name_space != entry.metadata.name_space || translate::hidden(other->export_to))
            return true;
        return !kube::older(other->metadata, entry.metadata);
    };
    for (const std::string& host : entry.hosts) {
        const auto services = ask.at<kube::Service>(Index::host, host);
        const bool service_there = std::ranges::any_of(
            services, [&](const auto* one) { return one->metadata.name_space == entry.metadata.name_space; });
        const auto entries = ask.at<kube::ServiceEntry>(Index::host, host);
        if (!service_there && std::ranges::all_of(entries, wins_against)) won.push_back(host);
    }
    return won;
}

translate::PeerInputs peers_above(std::string_view name_space, Ask& ask) {
    translate::PeerInputs out;
    const std::string& root = ask.mesh().root_namespace;
    out.mesh = ask.at<kube::PeerAuthentication>(Index::selecting, root + "|");
    if (name_space != root)
        out.name_space = ask.at<kube::PeerAuthentication>(Index::selecting, std::string(name_space) + "|");
    return out;
}

std::vector<std::string> attached_policies(std::string_view name_space, const kube::Labels& labels,
                                           Ask& ask) {
    std::vector<std::string> out;
    const std::string& root = ask.mesh().root_namespace;
    auto add = [&](std::string_view where) {
        for (const auto* one : ask.selecting<kube::AuthorizationPolicy>(where, labels))
            if (translate::is_converted(ask.mesh(), *one))
                out.push_back(one->metadata.name_space + "/" + one->metadata.name);
    };
    add(name_space);
    if (name_space != root) add(root);
    std::ranges::sort(out);
    translate::PeerInputs peers = peers_above(name_space, ask);
    if (name_space != root) peers.workload = ask.selecting<kube::PeerAuthentication>(name_space, labels);
    for (std::string& key : translate::peer_policies(ask.mesh(), peers)) out.push_back(std::move(key));
    return out;
}

std::optional<mesh::GatewayAddress> missing_waypoint(const kube::Metadata& about, kube::Kind kind, Ask& ask,
                                                     std::vector<kube::Problem>& notes) {
    const auto* name_space = ask.one<kube::Namespace>(kube::Kind::name_space, "", about.name_space);
    const std::string waypoint = label_or(about, name_space, "istio.io/use-waypoint");
    const bool labelled = !waypoint.empty() && waypoint != "none";
    std::string where = label_or(about, name_space, "istio.io/use-waypoint-namespace");
    if (where.empty()) where = about.name_space;
    bool bound = is_target(kube::Key{kind, about.name_space, about.name}.to_string(), ask);
    if (labelled)
        bound = is_target("Gateway " + where + "/" + waypoint, ask) ||
                is_target("GatewayClass " + ask.mesh().root_namespace + "/istio-waypoint", ask) || bound;
    const std::string field = "metadata.labels.istio.io/use-waypoint";
    if (!bound || ask.mesh().l7_fail_open) {
        if (labelled)
            notes.push_back(note(about, kind, field,
                                 "waypoints are not carried by this version: served at L4 only",
                                 "remove the label"));
        return {};
    }
    notes.push_back(
        note(about, kind, field,
             "a policy is bound that only a waypoint can enforce, and there is none: connections are REFUSED",
             "remove the policy, or start the controller with --l7-fail-open"));
    notes.back().severity = kube::Problem::Severity::error;
    const std::string name = labelled ? waypoint : "waypoint";  // any: none of them is carried
    return mesh::GatewayAddress{
        mesh::ServiceKey{where, name + "." + where + ".svc." + ask.mesh().cluster_domain}, hbone_port};
}

bool is_published(const kube::Service& service) {
    return !service.external_name &&
           translate::value_of(service.metadata.annotations, translate::export_annotation) != "~";
}

void give_up_taken(const kube::Metadata& about, kube::Kind kind, const std::string& field, mesh::Service& out,
                   Ask& ask, std::vector<kube::Problem>& notes) {
    std::erase_if(out.vips, [&](const mesh::Vip& vip) {
        if (!vip.exact()) return false;
        const kube::Metadata* owner = address_owner(about, kind, vip.range.base.to_string(), ask);
        if (!owner) return false;
        notes.push_back(note(about, kind, field,
                             vip.range.base.to_string() + " is the address of " + owner->name_space + "/" +
                                 owner->name + ", which is older and keeps it",
                             "write an address that nobody has"));
        notes.back().severity = kube::Problem::Severity::error;
        return true;
    });
}

std::string namespace_distribution(std::string_view name_space, Ask& ask) {
    const auto* found = ask.one<kube::Namespace>(kube::Kind::name_space, "", name_space);
    return found ? std::string(
                       translate::value_of(found->metadata.annotations, translate::distribution_annotation))
                 : std::string();
}

void check_distribution(const kube::Metadata& about, kube::Kind kind, std::vector<kube::Problem>& notes) {
    const std::string_view said = translate::value_of(about.annotations, translate::distribution_annotation);
    if (said.empty() || translate::known_distribution(said)) return;
    notes.push_back(note(about, kind,
                         "metadata.annotations." + std::string(translate::distribution_annotation),
                         "is none of PreferClose, PreferSameZone, PreferSameNode, Any: has no effect"));
}

}  // namespace culvert::controller
