#include "controller/analysis.h"

#include "controller/rules.h"
#include "controller/store.h"
#include "controller/translate/policy.h"

#include <algorithm>
#include <set>

namespace culvert::controller {
namespace {

using kube::Kind;
using Severity = kube::Problem::Severity;

constexpr std::string_view mode_label = "istio.io/dataplane-mode";
constexpr const char* mode_field = "metadata.labels.istio.io/dataplane-mode";
constexpr std::string_view scheme = "spiffe://";

std::string_view mode_of(const kube::Metadata& object) {
    auto at = object.labels.find(mode_label);
    return at == object.labels.end() ? std::string_view() : std::string_view(at->second);
}

std::string name_of(const kube::Metadata& object) { return object.name_space + "/" + object.name; }

// One pass's memory: what objects ask of each other.
class Analysis {
public:
    Analysis(const kube::Snapshot& snapshot, const Mesh& mesh) : snapshot_(snapshot), mesh_(mesh) {
        for (const auto& [key, object] : snapshot.objects)
            std::visit([&](const auto& one) { learn(one); }, *object);
    }
    std::vector<kube::Problem> all() {
        for (const auto& [key, object] : snapshot_.objects)
            std::visit([&](const auto& one) { look_at(one); }, *object);
        look_for_namespaces();
        return std::move(found_);
    }

private:
    // What lives in a namespace, for the case that nobody declared it.
    struct Home {
        std::size_t pods_by_namespace = 0;  // would be in the mesh by its label alone
        std::size_t policies = 0;
        const kube::Metadata* first = nullptr;
    };

    void learn(const kube::Pod& pod) {
        add_home(pod.metadata);
        if (mode_of(pod.metadata).empty()) ++homes_[pod.metadata.name_space].pods_by_namespace;
        populated_.insert(pod.metadata.name_space);
        for (const auto& [label, value] : pod.metadata.labels)
            pods_[selecting_key(pod.metadata.name_space, label, value)].push_back(&pod);
    }
    void learn(const kube::Namespace& one) { namespaces_.insert(one.metadata.name); }
    void learn(const kube::EndpointSlice& slice) {
        sliced_.insert(slice.metadata.name_space + "/" + slice.service);
    }
    void learn(const kube::ServiceEntry& entry) {
        for (const kube::EntryEndpoint& one : entry.endpoints) add_labels(entry.metadata, one.labels);
    }
    void learn(const kube::AuthorizationPolicy& policy) { learn_policy(policy.metadata); }
    void learn(const kube::PeerAuthentication& policy) {
        learn_policy(policy.metadata);
        if (policy.selector && !policy.selector->empty()) return;
        const kube::PeerAuthentication*& oldest = whole_[policy.metadata.name_space];
        if (!oldest || kube::older(policy.metadata, oldest->metadata)) oldest = &policy;
    }
    void learn(const kube::Service& service) { add_home(service.metadata); }
    void learn(const kube::Node&) {}

    void learn_policy(const kube::Metadata& policy) {
        add_home(policy);
        ++homes_[policy.name_space].policies;
    }
    void add_home(const kube::Metadata& object) {
        Home& home = homes_[object.name_space];
        if (!home.first) home.first = &object;
    }
    void add_labels(const kube::Metadata& where, const kube::Labels& labels) {
        populated_.insert(where.name_space);
        for (const auto& [label, value] : labels)
            entries_.insert(selecting_key(where.name_space, label, value));
    }

    void say(Severity severity, const kube::Metadata& about, Kind kind, std::string field,
             std::string message, std::string fix) {
        found_.push_back(note(about, kind, std::move(field), std::move(message), std::move(fix)));
        found_.back().severity = severity;
    }

    // Pods that carry all of the selector; an endpoint of a ServiceEntry with its first pair counts for one.
    std::vector<const kube::Pod*> selected(const std::string& name_space,
                                           const kube::Labels& selector) const {
        std::vector<const kube::Pod*> out;
        const auto& [label, value] = *selector.begin();
        auto at = pods_.find(selecting_key(name_space, label, value));
        if (at == pods_.end()) return out;
        for (const kube::Pod* pod : at->second)
            if (kube::selects(selector, pod->metadata.labels)) out.push_back(pod);
        return out;
    }
    bool selects_entry(const std::string& name_space, const kube::Labels& selector) const {
        const auto& [label, value] = *selector.begin();
        return entries_.contains(selecting_key(name_space, label, value));
    }

    void check_mode(const kube::Metadata& object, Kind kind) {
        const std::string_view mode = mode_of(object);
        if (mode.empty() || mode == "ambient" || mode == "none") return;
        say(Severity::error, object, kind, mode_field,
            "'" + std::string(mode) + "' is neither ambient nor none: it puts no pod into the mesh",
            "write ambient, or remove the label");
    }

    void look_at(const kube::Namespace& one) { check_mode(one.metadata, Kind::name_space); }
    void look_at(const kube::Pod& pod) { check_mode(pod.metadata, Kind::pod); }
    void look_at(const kube::Node&) {}
    void look_at(const kube::EndpointSlice&) {}
    void look_at(const kube::ServiceEntry&) {}

    void look_at(const kube::Service& service) {
        if (service.external_name) return;
        if (service.selector.empty()) {
            if (!sliced_.contains(name_of(service.metadata)))
                say(Severity::warning, service.metadata, Kind::service, "spec.selector",
                    "is missing and there is no EndpointSlice: the service has no endpoint, clients are "
                    "refused",
                    "write the labels of its pods there");
        } else if (selected(service.metadata.name_space, service.selector).empty()) {
            say(Severity::warning, service.metadata, Kind::service, "spec.selector",
                "selects no pod of namespace " + service.metadata.name_space +
                    ": the service has no endpoint, clients are refused",
                "compare it with the pods' metadata.labels");
        }
    }

    void look_at(const kube::AuthorizationPolicy& policy) {
        check_principals(policy);
        if (translate::is_enforced(policy) && policy.selector)
            check_selector(policy.metadata, Kind::authorization_policy, *policy.selector);
    }
    void look_at(const kube::PeerAuthentication& policy) {
        if (policy.selector && !policy.selector->empty())
            return check_selector(policy.metadata, Kind::peer_authentication, *policy.selector);
        const kube::PeerAuthentication& oldest = *whole_.at(policy.metadata.name_space);
        if (&oldest == &policy) return;
        const bool lost = policy.mode == kube::MtlsMode::strict && oldest.mode != kube::MtlsMode::strict;
        say(lost ? Severity::error : Severity::warning, policy.metadata, Kind::peer_authentication, "",
            "has no effect: " + name_of(oldest.metadata) + " is for the whole namespace, too, and older",
            "keep one of them");
    }

    void check_selector(const kube::Metadata& policy, Kind kind, const kube::Labels& selector) {
        if (selector.empty() || policy.name_space == mesh_.root_namespace) return;
        const auto pods = selected(policy.name_space, selector);
        if (pods.empty() && !selects_entry(policy.name_space, selector))
            return say(Severity::warning, policy, kind, "spec.selector.matchLabels",
                       "selects no pod of namespace " + policy.name_space + ": the policy has no effect",
                       "compare it with the pods' metadata.labels");
        for (const kube::Pod* pod : pods)
            if (mode_of(pod->metadata) == "none")
                say(Severity::error, policy, kind, "spec.selector.matchLabels",
                    "selects " + name_of(pod->metadata) + ", which " + std::string(mode_label) +
                        ": none takes out of the mesh: NOT ENFORCED there",
                    "remove the label of the pod, or let the policy not select it");
    }

    // What the author wrote matches nobody. Where not matching lets somebody in, protection is lost.
    void check_principals(const kube::AuthorizationPolicy& policy) {
        const bool allows = policy.action == kube::PolicyAction::allow;
        auto check = [&](const kube::Values& values, const std::string& field, int line) {
            auto spelled = [](const std::vector<std::string>& texts) {
                return std::ranges::any_of(texts, [](const auto& one) { return one.starts_with(scheme); });
            };
            const bool wanted = spelled(values.any), unwanted = spelled(values.not_any);
            if (!wanted && !unwanted) return;
            say((allows ? unwanted : wanted) ? Severity::error : Severity::warning, policy.metadata,
                Kind::authorization_policy, field, "begins with spiffe://, and so matches nobody",
                "write it without: TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
            if (line > 0) found_.back().line = line;
        };
        for (std::size_t i = 0; i < policy.rules.size(); ++i) {
            const kube::PolicyRule& rule = policy.rules[i];
            const std::string at = "spec.rules[" + std::to_string(i) + "]";
            for (const kube::PolicySource& from : rule.from)
                check(from.principals, at + ".from.source.principals", rule.line);
            for (const kube::PolicyCondition& when : rule.when)
                if (when.key == "source.principal") check(when.values, at + ".when.values", rule.line);
        }
    }

    void look_for_namespaces() {
        for (const auto& [name, home] : homes_) {
            if (namespaces_.contains(name) || name == mesh_.root_namespace) continue;
            kube::Problem out;
            const bool lost = home.policies > 0 && home.pods_by_namespace > 0;
            out.severity = lost ? Severity::error : Severity::warning;
            out.file = home.first->origin.file;
            out.line = home.first->origin.line;
            out.object = "Namespace " + name;
            out.message = "does not exist, and objects are in it: ";
            if (lost)
                out.message += std::to_string(home.pods_by_namespace) +
                               " pods are not in the mesh, its policies are NOT ENFORCED there";
            else
                out.message += populated_.contains(name)
                                   ? "pods are in the mesh by a label of their own alone"
                                   : "it has no pod that they could be about";
            out.fix = "add a Namespace " + name + ", or correct metadata.namespace";
            found_.push_back(std::move(out));
        }
    }

    const kube::Snapshot& snapshot_;
    const Mesh& mesh_;
    std::set<std::string> namespaces_, populated_, sliced_, entries_;
    std::map<std::string, std::vector<const kube::Pod*>> pods_;     // by "shop|app=web"
    std::map<std::string, const kube::PeerAuthentication*> whole_;  // the oldest without a selector
    std::map<std::string, Home> homes_;
    std::vector<kube::Problem> found_;
};

}  // namespace

std::vector<kube::Problem> analyse(const kube::Snapshot& snapshot, const Mesh& mesh) {
    return Analysis(snapshot, mesh).all();
}

}  // namespace culvert::controller
