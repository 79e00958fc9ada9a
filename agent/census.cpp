#include "agent/census.h"

#include "agent/claims.h"
#include "lib/base/log.h"

#include <algorithm>
#include <variant>

namespace culvert::agent {
namespace {

void log_step(const Pod& pod, Step before) {
    if (pod.step == before) return;
    log::info("enrol", "pod " + pod.spec.key() + ": " + std::string(word(pod.step)),
              {log::text("uid", pod.uid), log::text("reason", pod.error)});
}

// Each twice: when it appears and when it is gone.
void log_problems(const std::vector<kube::Problem>& before, const std::vector<kube::Problem>& now) {
    for (const kube::Problem& one : now)
        if (std::ranges::find(before, one) == before.end()) log::warn("manifests", one.to_string());
    for (const kube::Problem& one : before)
        if (std::ranges::find(now, one) == now.end()) log::info("manifests", "mended: " + one.to_string());
}

}  // namespace

Census::Census(CensusOptions options, Kernel& kernel, Ztunnels& ztunnels, const Clock& clock)
    : options_(std::move(options)), kernel_(kernel), ztunnels_(ztunnels), clock_(clock) {}

Circumstances Census::now() const { return {options_.sweeping, clock_.now()}; }

void Census::learn(kube::SnapshotPtr snapshot) {
    log_problems(problems_, snapshot->problems);
    problems_ = snapshot->problems;
    auto is_error = [](const kube::Problem& one) { return one.severity == kube::Problem::Severity::error; };
    auto is_directory = [&](const kube::Problem& one) {
        return is_error(one) && one.file == options_.manifests;
    };
    // A directory that cannot be read says nothing about any pod: nobody leaves the mesh because a disk is
    // not mounted.
    if (std::ranges::any_of(problems_, is_directory)) return;
    // Without any file it is rather a disk that is not mounted yet than a node without pods.
    whole_ = std::ranges::none_of(problems_, is_error) && snapshot->files > 0;
    snapshot_ = std::move(snapshot);
    changed_ = true;
}

std::map<std::string, PodSpec> Census::specs_of(const kube::Snapshot& snapshot) const {
    std::vector<const kube::PeerAuthentication*> policies;
    for (const auto& [key, object] : snapshot.objects)
        if (auto* policy = std::get_if<kube::PeerAuthentication>(object.get())) policies.push_back(policy);
    std::map<std::string, PodSpec> specs;
    for (const auto& [key, object] : snapshot.objects) {
        auto* pod = std::get_if<kube::Pod>(object.get());
        if (!pod || pod->node != options_.node_name) continue;
        auto home = snapshot.objects.find({kube::Kind::name_space, {}, pod->metadata.name_space});
        const kube::Namespace* found =
            home == snapshot.objects.end() ? nullptr : std::get_if<kube::Namespace>(home->second.get());
        PodSpec spec = describe(*pod, found, options_.membership);
        spec.strict = strict_applies(*pod, policies, options_.root_namespace);
        specs.emplace(spec.key(), std::move(spec));
    }
    return specs;
}

void Census::follow_manifests() {
    changed_ = false;
    std::map<std::string, PodSpec> specs = specs_of(*snapshot_);
    for (auto at = pods_.begin(); at != pods_.end();) {
        auto spec = specs.find(at->first);
        // Another uid or another place is another pod of the same name.
        bool same = spec != specs.end() && spec->second.uid == at->second->spec.uid &&
                    spec->second.netns_path == at->second->spec.netns_path;
        if (!same) retire(std::move(at->second));
        at = same ? std::next(at) : pods_.erase(at);
    }
    for (auto& [key, spec] : specs) {
        std::unique_ptr<Pod>& pod = pods_[key];
        if (!pod) pod = std::make_unique<Pod>();
        pod->wanted = spec.membership == Membership::member;
        pod->spec = std::move(spec);
    }
}

void Census::retire(std::unique_ptr<Pod> pod) {
    pod->wanted = false;
    if (pod->netns.open()) leaving_.push_back(std::move(pod));
}

void Census::abandon(Pod& pod) {
    log::warn("enrol", "the network namespace of pod " + pod.spec.key() + " is gone",
              {log::text("path", pod.spec.netns_path)});
    ztunnels_.untell(pod.uid);
    // Descriptors would keep the namespace alive; the kernel keeps what is in it captured as long as it
    // lives.
    pod.forget_place();
}

void Census::find_namespace(Pod& pod) {
    if (pod.netns.open() && namespace_changed(pod)) abandon(pod);
    if (pod.netns.open() || pod.spec.netns_path.empty()) return;
    Result<Done> opened = open_namespace(pod);
    pod.kept_out =
        opened || opened.error().reason == Reason::closed ? std::string() : opened.error().to_string();
}

void Census::keep_out(Pod& pod, std::string reason) {
    if (!pod.uid.empty() && ztunnels_.told(pod.uid)) ztunnels_.untell(pod.uid);
    Step before = pod.step;
    pod.forget_place();
    pod.step = before;  // only a change is logged
    pod.kept_out = std::move(reason);
}

// Whom the maps have a namespace as may be gone from the manifests, or have another namespace by now.
bool Census::lives(const std::string& name, std::uint64_t cookie) const {
    auto named = pods_.find(name);
    if (named == pods_.end()) {
        auto is_it = [&](const auto& pod) { return pod->netns.open() && pod->cookie == cookie; };
        return !whole_ || std::ranges::any_of(leaving_, is_it);  // a file that cannot be read may name it
    }
    return !named->second->netns.open() || named->second->cookie == cookie;
}

void Census::settle_claims() {
    contested_.clear();
    std::map<std::uint64_t, std::vector<Claim>> claims;
    for (const auto& [key, pod] : pods_)
        if (pod->netns.open()) claims[pod->cookie].push_back({key, pod->wanted});
    for (const auto& [cookie, all] : claims) {
        std::string holder = kernel_.name_of(cookie);
        Verdict verdict = judge(all, holder, !holder.empty() && lives(holder, cookie));
        // Capturing the node would be worse than not capturing.
        if (cookie == options_.node_cookie) verdict = {{}, "its network namespace is the node's own"};
        if (verdict.owner.empty()) contested_.insert(cookie);
        for (const Claim& one : all)
            if (one.pod != verdict.owner) keep_out(*pods_.at(one.pod), verdict.reason);
    }
}

void Census::look_after(Pod& pod) {
    Step before = pod.step;
    advance(pod, kernel_, ztunnels_, now());
    log_step(pod, before);
}

void Census::round() {
    if (!snapshot_) return;
    if (changed_) follow_manifests();
    std::erase_if(leaving_, [&](const std::unique_ptr<Pod>& pod) {
        look_after(*pod);
        return pod->step == Step::out;
    });
    for (auto& [key, pod] : pods_) find_namespace(*pod);
    settle_claims();
    for (auto& [key, pod] : pods_) look_after(*pod);
    drop_leftovers();
}

// What is in the kernel and not among our pods: dead namespaces, pods that left the manifests while no agent
// ran, and what was abandoned.
void Census::drop_leftovers() {
    abandoned_.clear();
    for (const KnownPod& known : kernel_.known()) {
        auto is_known = [&](const auto& pod) { return pod->netns.open() && pod->cookie == known.cookie; };
        if (std::ranges::any_of(leaving_, is_known)) continue;
        if (std::ranges::any_of(pods_, [&](const auto& pod) { return is_known(pod.second); })) continue;
        auto named = pods_.find(known.name);
        // Without a name, of an earlier layout: whoever claims it, it stays captured until one of them has
        // it.
        bool is_contested = known.name.empty() && contested_.contains(known.cookie);
        bool released = whole_ && !is_contested && (named == pods_.end() || !named->second->wanted);
        if (!known.alive || released) {
            log::info("enrol", "forgetting " + (known.name.empty() ? std::string("a pod") : known.name),
                      {log::text("reason",
                                 known.alive ? "it is not in the mesh any more" : "its namespace is gone")});
            kernel_.forget(known.cookie);
        } else {
            abandoned_.push_back(known.name);
        }
    }
}

bool Census::settled() const {
    if (!leaving_.empty()) return false;
    return std::ranges::all_of(pods_, [](const auto& pod) {
        Step step = pod.second->step;
        return !pod.second->wanted || (step == Step::enrolled && pod.second->facts.announced);
    });
}

void Census::addresses_changed(int watch) {
    for (auto& [key, pod] : pods_) {
        if (!pod->watch.open() || pod->watch.get() != watch) continue;
        read_addresses(*pod);
        if (namespace_changed(*pod)) abandon(*pod);
        look_after(*pod);
    }
}

std::vector<int> Census::watches() const {
    std::vector<int> all;
    for (const auto& [key, pod] : pods_)
        if (pod->watch.open()) all.push_back(pod->watch.get());
    return all;
}

std::string Census::name_of(std::uint32_t slot) const {
    for (const auto& [key, pod] : pods_)
        if (slot != 0 && pod->kernel.id == slot) return key;
    return {};
}

}  // namespace culvert::agent
