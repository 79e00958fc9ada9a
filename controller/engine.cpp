#include "controller/engine.h"

#include "lib/base/log.h"

#include <algorithm>
#include <iterator>

namespace culvert::controller {
namespace {

constexpr auto renew_every = std::chrono::minutes(10);

// Each problem twice: when it appears and when it is gone.
void log_new(const std::vector<kube::Problem>& before, const std::vector<kube::Problem>& now) {
    for (const kube::Problem& one : now)
        if (std::ranges::find(before, one) == before.end()) log::warn("controller", one.to_string());
    for (const kube::Problem& one : before)
        if (std::ranges::find(now, one) == now.end()) log::info("controller", "mended: " + one.to_string());
}

// Who turns what off or on is asked afterwards: policies by name, the rest by number.
struct Counts {
    bool first = false;  // of this program's life: all is new
    std::uint64_t added = 0, changed = 0, removed = 0;
    void count(const kube::Key& key, const kube::ObjectPtr& before, const kube::ObjectPtr& now) {
        ++(!before ? added : !now ? removed : changed);
        const bool policy =
            key.kind == kube::Kind::authorization_policy || key.kind == kube::Kind::peer_authentication;
        if (first || !policy) return;
        log::info("controller", key.to_string() + (!before ? " is new" : !now ? " is gone" : " has changed"));
    }
};

}  // namespace

Engine::Engine(Mesh mesh, Enrolments enrolments, Parts parts)
    : parts_(std::move(parts)), graph_(std::move(mesh)), enrolments_(std::move(enrolments)),
      publish_(parts_.publish), now_(std::make_shared<const kube::Snapshot>()) {}

void Engine::manifests(kube::SnapshotPtr now) {
    {
        const std::lock_guard guard(lock_);
        const bool waiting = next_ != nullptr;
        next_ = std::move(now);
        if (waiting) return;  // whoever takes it takes this one
    }
    parts_.executor.post([this] { take_manifests(); });
}

void Engine::report(const xds::Caller& caller, xds::Report report, Applied applied) {
    parts_.executor.post([this, caller, report = std::move(report), applied = std::move(applied)]() mutable {
        take_report(caller, report, std::move(applied));
    });
}

void Engine::take_manifests() {
    kube::SnapshotPtr next;
    {
        const std::lock_guard guard(lock_);
        next = std::exchange(next_, nullptr);
    }
    log_new(now_->problems, next->problems);
    // Before the directory could be read once nothing is known of the mesh, and nothing is said: nodes keep
    // what they have.
    if (next->read) take_objects(*next);
    now_ = std::move(next);
    if (!now_->read) return show();
    take_nodes();
    flush_soon();
}

// Two sorted maps side by side; files that did not change gave the same pointers.
void Engine::take_objects(const kube::Snapshot& next) {
    Counts counts{.first = !now_->read};
    auto replace_one = [&](const kube::Key& key, const kube::ObjectPtr& before, const kube::ObjectPtr& now) {
        counts.count(key, before, now);
        replace(key, before, now);
    };
    auto old_at = now_->objects.begin();
    auto new_at = next.objects.begin();
    const auto old_end = now_->objects.end();
    const auto new_end = next.objects.end();
    while (old_at != old_end || new_at != new_end) {
        if (new_at == new_end || (old_at != old_end && old_at->first < new_at->first)) {
            replace_one(old_at->first, old_at->second, nullptr);
            ++old_at;
        } else if (old_at == old_end || new_at->first < old_at->first) {
            replace_one(new_at->first, nullptr, new_at->second);
            ++new_at;
        } else {
            if (old_at->second != new_at->second) replace_one(new_at->first, old_at->second, new_at->second);
            ++old_at;
            ++new_at;
        }
    }
    if (counts.added + counts.changed + counts.removed == 0) return;
    log::info("controller", "manifests have changed",
              {log::number("added", counts.added), log::number("changed", counts.changed),
               log::number("removed", counts.removed), log::number("objects", next.objects.size())});
}

void Engine::take_nodes() {
    nodes_ = parts_.residents.nodes();
    std::erase_if(unsaved_, [&](const std::string& node) { return !nodes_.contains(node); });
    for (const std::string& pod : enrolments_.keep_only(nodes_)) see_again(pod);
    refresh_files();
    if (std::exchange(renewing_, true)) return;
    parts_.executor.after(renew_every, [this] { renew_files(); });
}

void Engine::replace(const kube::Key& key, const kube::ObjectPtr& before, const kube::ObjectPtr& now) {
    parts_.residents.replace(before.get(), now.get());
    if (now)
        graph_.set(enrolments_.seen(now));
    else
        graph_.erase(key);
}

void Engine::take_report(const xds::Caller& caller, const xds::Report& report, Applied applied) {
    // Its call ends soon; what was on its way must not enter a node that has gone.
    auto apply = [&]() -> Result<std::vector<std::string>> {
        if (now_->read && !nodes_.contains(caller.node))
            return refuse(Reason::permission, "node " + caller.node + " does not exist");
        return enrolments_.apply(caller.node, report);
    };
    auto changed = apply();
    Result<Done> saved = Done{};
    if (changed && (!changed->empty() || unsaved_.contains(caller.node)))
        saved = enrolments_.save(caller.node);
    if (changed && saved) unsaved_.erase(caller.node);
    if (changed && !saved) unsaved_.insert(caller.node);  // said again, it is nothing new and still not saved
    if (changed)
        for (const std::string& name : *changed) see_again(name);
    if (changed && saved) {
        applied_.push_back(std::move(applied));
    } else {
        const Error why = changed ? saved.error() : changed.error();
        parts_.refusals.count(why, "a report of node " + caller.node + " at " + caller.peer);
        applied(std::unexpected(why));
    }
    flush_soon();
}

void Engine::see_again(const std::string& pod) {
    const std::size_t slash = pod.find('/');
    auto found = now_->objects.find({kube::Kind::pod, pod.substr(0, slash), pod.substr(slash + 1)});
    if (found != now_->objects.end()) graph_.set(enrolments_.seen(found->second));
}

void Engine::flush_soon() {
    if (!now_->read) return;  // the first manifests will flush
    if (std::exchange(flush_posted_, true)) return;
    parts_.executor.post([this] { flush(); });
}

void Engine::flush() {
    flush_posted_ = false;
    const Graph::Changes changes = graph_.flush();
    publish_.apply(changes);
    take_notes();
    parts_.metrics.counter("culvert_controller_recomputed", "Derivations of the graph that were computed")
        .add(changes.recomputed);
    for (Applied& applied : std::exchange(applied_, {})) applied(Done{});
    show();
}

// What cannot be enforced as written is in the log when it appears, beside status.
void Engine::take_notes() {
    std::vector<kube::Problem> now = graph_.notes();
    std::ranges::sort(now);
    std::vector<kube::Problem> fresh;
    std::ranges::set_difference(now, notes_, std::back_inserter(fresh));
    for (const kube::Problem& one : fresh)
        if (one.severity == kube::Problem::Severity::error) log::warn("controller", one.to_string());
    notes_ = std::move(now);
}

void Engine::refresh_files() {
    if (auto done = parts_.files.refresh(nodes_, parts_.executor.clock().wall()); !done)
        log::error("controller", "a node's files cannot be written",
                   {log::text("error", done.error().to_string())});
}

void Engine::renew_files() {
    refresh_files();
    parts_.executor.after(renew_every, [this] { renew_files(); });
}

void Engine::show() {
    auto picture = std::make_shared<Picture>();
    picture->ready = now_->read;
    picture->manifests = now_;
    picture->mesh = graph_.store().mesh();
    for (const kube::Problem& one : now_->problems)
        (one.severity == kube::Problem::Severity::error ? picture->problems : picture->warnings)
            .push_back(one);
    for (const kube::Problem& one : notes_)
        (one.severity == kube::Problem::Severity::error ? picture->problems : picture->warnings)
            .push_back(one);
    for (const auto& [key, object] : now_->objects) ++picture->objects[std::string(kube::word(key.kind))];
    picture->addresses = publish_.current()->size(xds::Type::address);
    picture->policies = publish_.current()->size(xds::Type::authorization);
    picture->sequence = publish_.current()->sequence();
    for (const std::string& node : nodes_) {
        Picture::Node one{node, {}};
        for (const auto& [name, said] : enrolments_.of(node))
            one.pods.push_back({name, said.enrolled, said.reason});
        picture->nodes.push_back(std::move(one));
    }
    parts_.board.set(std::move(picture));
}

}  // namespace culvert::controller
