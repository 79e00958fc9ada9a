// The server's half of one delta discovery stream as a pure state machine: it is told what the
// client said and which snapshot is in force, and says what to push. Belongs to its stream, one thread at a
// time.
//
// Back-pressure: one response per type is on its way; what changes meanwhile is coalesced into the next. A
// stream in wildcard mode costs a pointer to the snapshot that the client has; only named subscriptions cost
// per name.
//
// Order across types: new policies go before addresses and removed policies after them, so that no workload
// ever names a policy that its node does not have (a proxy denies then).
#pragma once
#include "lib/base/result.h"
#include "lib/xds/snapshot.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace culvert::xds {

class DeltaStream {
public:
    static constexpr std::size_t names_max = 131'072;          // docs/limits.md: xds.subscriptions
    static constexpr std::size_t name_bytes_max = 2048;        // docs/limits.md: xds.name
    static constexpr std::size_t push_bytes_max = 128u << 20;  // docs/limits.md: xds.push
    static constexpr std::size_t held_back_max = 65'536;       // docs/limits.md: xds.held_back

    explicit DeltaStream(std::size_t push_bytes = push_bytes_max) : push_bytes_(push_bytes) {}

    struct Heard {
        std::optional<Type> type;          // none: a type that we do not serve; it is never answered
        std::optional<std::string> error;  // of a NACK
        bool stale = false;                // it answers a response that is not the last one
    };
    // A request came. A refusal ends the stream: bad_input (no node id, a name that is too long), limit.
    Result<Heard> received(DeltaRequest request);

    // What to push now, if anything: to be asked after received(), after a new snapshot, and again after each
    // push.
    std::optional<Push> next(const SnapshotPtr& now);

    const Node& node() const { return node_; }
    bool subscribed(Type type) const { return of(type).asked; }
    bool outstanding(Type type) const { return !of(type).nonce.empty(); }
    // The client has acknowledged everything of this snapshot, for each type that it asked for.
    bool synced(const Snapshot& now) const;

private:
    using Names = std::set<std::string, std::less<>>;
    using Versions = std::map<std::string, std::string, std::less<>>;
    struct OfType {
        bool asked = false;
        bool wildcard = false;
        bool answered = false;  // everything, or everything asked for, has gone out once
        std::string nonce;      // of the response on its way; empty: none
        SnapshotPtr sent;       // what the client has, or will have when rest has gone out
        Versions reported;      // until answered: initial_resource_versions
        Names names;            // asked for by name
        Names unanswered;       // those of them that were asked for just now
        Versions given;         // of named subscriptions: what was sent, with its version
        std::vector<ResourcePtr> rest;
        std::vector<std::string> rest_removed;
        bool owed = false;  // a response is due even if it is empty
    };
    const OfType& of(Type type) const { return of_[static_cast<std::size_t>(type)]; }
    OfType& of(Type type) { return of_[static_cast<std::size_t>(type)]; }
    static bool idle(const OfType& of);
    bool policies_are_out(const SnapshotPtr& now) const;

    Result<Done> subscribe(OfType& of, const DeltaRequest& request);
    Result<Done> take_reported(OfType& of, const DeltaRequest& request);
    void collect(Type type, const SnapshotPtr& now);
    void collect_first(Type type, const SnapshotPtr& now);
    void collect_changes(Type type, const SnapshotPtr& now);
    void collect_named(Type type, const SnapshotPtr& now);
    void withdraw(Type type, std::string name, std::string version);
    void release_held_back(const SnapshotPtr& now);
    std::optional<Push> cut(Type type);

    std::size_t push_bytes_;
    Node node_;
    std::array<OfType, types.size()> of_;
    Versions held_back_;  // removed policies that wait until addresses have settled; the client has them
    std::uint64_t pushes_ = 0;
};

}  // namespace culvert::xds
