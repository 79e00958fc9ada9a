#include "lib/xds/delta_server.h"

#include <utility>

namespace culvert::xds {

namespace {
constexpr std::string_view everything = "*";

std::unexpected<Error> too_many_names() {
    return refuse(Reason::limit, "more than " + std::to_string(DeltaStream::names_max) + " names");
}
}  // namespace

Result<DeltaStream::Heard> DeltaStream::received(DeltaRequest request) {
    if (request.node && node_.id.empty()) node_ = std::move(*request.node);
    if (node_.id.empty()) return refuse(Reason::bad_input, "the first request has no node id");
    Heard heard;
    heard.type = type_of(request.type_url);
    if (!heard.type) return heard;
    OfType& of = this->of(*heard.type);
    if (!request.nonce.empty()) {
        heard.stale = request.nonce != of.nonce;
        if (!heard.stale) {
            of.nonce.clear();
            heard.error = std::move(request.error);  // nothing is pushed again because of it
        }
    }
    TRY_DONE(subscribe(of, request));
    return heard;
}

Result<Done> DeltaStream::subscribe(OfType& of, const DeltaRequest& request) {
    for (const std::string& name : request.subscribe)
        if (name.size() > name_bytes_max) return refuse(Reason::bad_input, "a name is too long");
    if (!of.asked) {
        of.asked = true;
        of.wildcard = request.subscribe.empty();
        of.owed = of.wildcard;
        TRY_DONE(take_reported(of, request));
    }
    bool was_wildcard = of.wildcard;
    for (const std::string& name : request.subscribe) {
        if (name == everything) {
            of.wildcard = true;
            continue;
        }
        if (of.names.size() >= names_max && !of.names.contains(name)) return too_many_names();
        of.names.insert(name);
        of.unanswered.insert(name);
    }
    for (const std::string& name : request.unsubscribe) {
        if (name == everything) of.wildcard = false;
        of.names.erase(name);
        of.unanswered.erase(name);
    }
    if (of.wildcard == was_wildcard) return Done{};
    // From names to everything, or back: what was given is what it has; the rest of everything it forgets
    // itself.
    if (of.wildcard) of.reported.merge(std::exchange(of.given, {}));
    of.owed = of.wildcard;
    of.answered = false;
    of.sent.reset();
    of.rest.clear();
    of.rest_removed.clear();
    return Done{};
}

// what the client has. Without a wildcard these are also the names that it goes on asking for (W-9); ""
// is a name that was never answered.
Result<Done> DeltaStream::take_reported(OfType& of, const DeltaRequest& request) {
    for (const auto& [name, version] : request.initial_versions) {
        if (of.wildcard || !version.empty()) of.reported.emplace(name, version);
        if (of.wildcard) continue;
        if (of.names.size() >= names_max) return too_many_names();
        of.names.insert(name);
        if (version.empty()) of.unanswered.insert(name);
    }
    return Done{};
}

std::optional<Push> DeltaStream::next(const SnapshotPtr& now) {
    OfType& policies = of(Type::authorization);
    OfType& addresses = of(Type::address);
    if (idle(policies)) collect(Type::authorization, now);
    // Policies first: an address that names one must find it.
    if (idle(addresses) && policies_are_out(now)) collect(Type::address, now);
    if (idle(policies)) release_held_back(now);
    if (policies.nonce.empty())
        if (auto push = cut(Type::authorization)) return push;
    if (addresses.nonce.empty()) return cut(Type::address);
    return std::nullopt;
}

bool DeltaStream::idle(const OfType& of) {
    return of.asked && of.nonce.empty() && of.rest.empty() && of.rest_removed.empty();
}

// Every policy of `now` has been collected. What is collected goes out before addresses do.
bool DeltaStream::policies_are_out(const SnapshotPtr& now) const {
    const OfType& policies = of(Type::authorization);
    if (!policies.asked || policies.sent == now) return true;
    if (!policies.sent) return false;
    auto changed = now->changed_since(Type::authorization, policies.sent->sequence());
    return changed && changed->empty();
}

void DeltaStream::collect(Type type, const SnapshotPtr& now) {
    OfType& of = this->of(type);
    if (!of.wildcard)
        collect_named(type, now);
    else if (!of.answered)
        collect_first(type, now);
    else
        collect_changes(type, now);
    of.answered = true;
    of.sent = now;
}

// what the client did not report, or in another version; and what it reported that is no more.
void DeltaStream::collect_first(Type type, const SnapshotPtr& now) {
    OfType& of = this->of(type);
    Versions reported = std::exchange(of.reported, {});
    now->for_each(type, [&](const ResourcePtr& resource) {
        auto at = reported.find(resource->name);
        bool has_it = at != reported.end() && at->second == resource->version;
        if (!has_it) of.rest.push_back(resource);
        if (at != reported.end()) reported.erase(at);
    });
    for (auto& [name, version] : reported) withdraw(type, name, version);
}

void DeltaStream::collect_changes(Type type, const SnapshotPtr& now) {
    OfType& of = this->of(type);
    if (of.sent == now) return;
    auto compare = [&](std::string_view name) {
        ResourcePtr before = of.sent->find(type, name);
        ResourcePtr after = now->find(type, name);
        if (before && !after) withdraw(type, before->name, before->version);
        if (!after || (before && before->version == after->version)) return;
        // It was removed and is back before the client was told.
        auto held = type == Type::authorization ? held_back_.find(name) : held_back_.end();
        bool has_it = held != held_back_.end() && held->second == after->version;
        if (held != held_back_.end()) held_back_.erase(held);
        if (!has_it) of.rest.push_back(std::move(after));
    };
    if (auto names = now->changed_since(type, of.sent->sequence())) {
        for (const std::string& name : *names) compare(name);
        return;
    }
    now->for_each(type, [&](const ResourcePtr& resource) { compare(resource->name); });
    of.sent->for_each(type, [&](const ResourcePtr& resource) {
        if (!now->find(type, resource->name)) withdraw(type, resource->name, resource->version);
    });
}

// by name, by address, with a service its endpoints; and what lives on the client's node unasked. What
// was asked for and is not there comes back as removed.
void DeltaStream::collect_named(Type type, const SnapshotPtr& now) {
    OfType& of = this->of(type);
    if (of.answered && of.sent == now && of.unanswered.empty()) return;
    std::map<std::string, ResourcePtr, std::less<>> wanted;
    Names again;  // asked for just now: sent whatever the client has
    auto want = [&](const ResourcePtr& resource, bool asked_now) {
        wanted.emplace(resource->name, resource);
        if (asked_now) again.insert(resource->name);
        now->for_each_endpoint(resource->name, [&](const ResourcePtr& endpoint) {
            if (type == Type::address) wanted.emplace(endpoint->name, endpoint);
        });
    };
    for (const std::string& name : of.names) {
        bool asked_now = of.unanswered.contains(name);
        bool found = false;
        auto take = [&](const ResourcePtr& resource) {
            found = true;
            want(resource, asked_now);
        };
        if (ResourcePtr resource = now->find(type, name))
            take(resource);
        else
            now->for_each_alias(type, name, take);
        if (!found && asked_now) of.rest_removed.push_back(name);
    }
    auto node = node_.metadata.find("NODE_NAME");
    if (type == Type::address && node != node_.metadata.end() && !node->second.text.empty())
        now->for_each_on_node(node->second.text,
                              [&](const ResourcePtr& each) { wanted.emplace(each->name, each); });
    of.unanswered.clear();
    of.given.merge(std::exchange(of.reported, {}));
    for (const auto& [name, resource] : wanted) {
        auto at = of.given.find(name);
        if (at != of.given.end() && at->second == resource->version && !again.contains(name)) continue;
        of.given[name] = resource->version;
        of.rest.push_back(resource);
    }
    std::erase_if(of.given, [&](const auto& each) {
        if (wanted.contains(each.first)) return false;
        if (!now->find(type, each.first)) withdraw(type, each.first, each.second);
        return true;
    });
}

// A removed policy waits for the addresses that may still name it.
void DeltaStream::withdraw(Type type, std::string name, std::string version) {
    bool wait = type == Type::authorization && of(Type::address).asked && held_back_.size() < held_back_max;
    if (wait)
        held_back_.insert_or_assign(std::move(name), std::move(version));
    else
        of(type).rest_removed.push_back(std::move(name));
}

void DeltaStream::release_held_back(const SnapshotPtr& now) {
    const OfType& addresses = of(Type::address);
    if (held_back_.empty() || (addresses.asked && (!idle(addresses) || addresses.sent != now))) return;
    for (const auto& [name, version] : std::exchange(held_back_, {}))
        if (!now->find(Type::authorization, name)) of(Type::authorization).rest_removed.push_back(name);
}

std::optional<Push> DeltaStream::cut(Type type) {
    OfType& of = this->of(type);
    if (of.rest.empty() && of.rest_removed.empty() && !of.owed) return std::nullopt;
    of.owed = false;
    Push push;
    push.type = type;
    push.nonce = std::to_string(++pushes_);
    // Policies stay together as long as a client takes them: other nodes than ours take the first
    // response for the whole.
    std::size_t most = type == Type::authorization ? push_bytes_ / 2 * 3 : push_bytes_;
    std::size_t bytes = 0;
    std::size_t count = 0;
    while (count < of.rest.size() && (count == 0 || bytes + of.rest[count]->chunk.size() <= most))
        bytes += of.rest[count++]->chunk.size();
    if (count == of.rest.size()) {
        push.resources = std::exchange(of.rest, {});
        push.removed = std::exchange(of.rest_removed, {});
    } else {
        auto end = of.rest.begin() + static_cast<std::ptrdiff_t>(count);
        push.resources.assign(of.rest.begin(), end);
        of.rest.erase(of.rest.begin(), end);
        push.more = true;
    }
    of.nonce = push.nonce;
    return push;
}

bool DeltaStream::synced(const Snapshot& now) const {
    for (const OfType& of : of_)
        if (of.asked && (!of.nonce.empty() || !of.rest.empty() || !of.rest_removed.empty() || !of.sent ||
                         of.sent->sequence() < now.sequence()))
            return false;
    return held_back_.empty();
}

}  // namespace culvert::xds
