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
    static constexpr std::size_t names_max = 16'384;           // docs/limits.md: xds.subscriptions
    static constexpr std::size_t push_bytes_max = 128u << 20;  // docs/limits.md: xds.push
    static constexpr std::size_t unknown_names_max = 65'536;   // docs/limits.md: xds.reported_unknown

    struct Heard {
        bool nack = false;
        std::string error;  // of the NACK
        std::optional<Type> type;
    };
    // A request came. A refusal ends the stream: bad_input (no node id), limit.
    Result<Heard> received(DeltaRequest request);

    // What to push now, if anything: to be asked after received(), after a new snapshot, and again after each
    // push.
    std::optional<Push> next(const SnapshotPtr& now);

    const Node& node() const { return node_; }
    bool subscribed(Type type) const { return of(type).asked; }
    bool outstanding(Type type) const { return !of(type).nonce.empty(); }
    // The client has acknowledged everything of this snapshot.
    bool synced(Type type, const Snapshot& now) const;

private:
    struct OfType {
        bool asked = false;
        bool wildcard = false;
        bool answered = false;  // the first response of this stream has gone out
        std::string nonce;      // on its way; empty: none
        SnapshotPtr sent;       // wildcard: what the client has, or will have
        std::map<std::string, std::string, std::less<>>
            reported;                                           // until answered: initial_resource_versions
        std::set<std::string, std::less<>> names;               // asked for by name
        std::map<std::string, std::string, std::less<>> given;  // by name: what was sent, with its version
        std::set<std::string, std::less<>> unanswered;          // names that were asked for just now
        std::vector<ResourcePtr> rest;                          // of a push that was cut at push_bytes_max
        std::vector<std::string> rest_removed;
        std::set<std::string, std::less<>> held_back;  // removals that wait for addresses
    };
    const OfType& of(Type type) const { return of_[static_cast<std::size_t>(type)]; }
    OfType& of(Type type) { return of_[static_cast<std::size_t>(type)]; }

    Result<Done> subscribe(OfType& of, DeltaRequest& request);
    void collect_first(Type type, const SnapshotPtr& now);
    void collect_changes(Type type, const SnapshotPtr& now);
    void collect_named(Type type, const SnapshotPtr& now);
    void release_held_back(const SnapshotPtr& now);
    std::optional<Push> cut(Type type);

    Node node_;
    std::array<OfType, types.size()> of_;
    std::uint64_t pushes_ = 0;
};

}  // namespace culvert::xds
