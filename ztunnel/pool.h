// The links that one pod has dialled, by what may share one (decision 8, H-38): the pod, its namespace and
// identity (by the pool's owner), the app's address, the accepted identities, the destination's address and
// its uid.
//
// Owned by a PodView, on its loop. A link below streams_per_link_max is used again (H-39, better than W-4);
// bulk is kept apart: while all links of a key are busy another one is dialled, up to links_per_key_max.
// Whoever needs a link while one is being dialled waits for that one, and all waiters share its result (H-40,
// W-4). Idle links are released after idle_release (H-41), those that the peer sends away are used up and
// replaced (H-37). Bounds: dialled_links_max per pool; refused with Reason::limit above it.
#pragma once
#include "lib/base/ip.h"
#include "lib/io/scope.h"
#include "lib/mesh/identity.h"
#include "ztunnel/link.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::ztunnel {

class PodView;

// Where a tunnel is to go.
struct Hop {
    Address to;                            // ip:15008
    std::string uid;                       // the destination's in WDS, "" if unknown
    std::vector<mesh::Identity> accepted;  // H-15; never empty
    Ip source;                             // policies may speak of it
    mesh::Identity identity;               // ours
    bool operator==(const Hop&) const = default;
};

class Pool final : io::Timer {
public:
    explicit Pool(PodView& pod);
    ~Pool();  // after join()
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // Opens `tunnel` on a link to `hop`, dialled if need be: the CONNECT is on its way then, its answer is
    // the tunnel's. Refusals: those of the dial, limit, draining, cancelled. What is passed by reference
    // outlives the call.
    io::Task<Result<Done>> open(const Hop& hop, Tunnel& tunnel, const h2::ConnectRequest& request);

    void drain();          // no link takes another tunnel; each closes with its last one
    void end(Reason why);  // all of them, now
    void end_links_of(const mesh::Identity& identity, Reason why);  // S16
    io::Scope::Join join() { return lives_.join(); }  // after end(), or until the last link has been released
    std::size_t links() const { return links_; }

private:
    struct Waiter {
        Waiter(io::Loop& loop, std::vector<Waiter*>& list);
        ~Waiter();
        std::vector<Waiter*>& waiters;
        io::Event woken;
        Result<Done> dialled = Done{};
    };
    struct Entry {
        std::unique_ptr<Link> link;
        Instant idle_since;
    };
    struct Group {
        std::vector<Entry> entries;
        std::vector<Waiter*> waiters;
        std::size_t users = 0;  // calls of open() that look at it
        bool dialling = false;
        bool unused() const { return entries.empty() && users == 0 && !dialling; }
    };
    struct Hash {
        std::size_t operator()(const Hop& hop) const noexcept;
    };
    using Groups = std::unordered_map<Hop, Group, Hash>;
    using Found = Groups::value_type;

    // Keeps a group while open() looks at it; the last one that lets an unused group go erases it.
    struct Use {
        Use(Pool& pool, const Hop& hop);
        ~Use();
        Use(const Use&) = delete;
        Pool& pool;
        Found& found;
    };

    io::Task<void> live(Found& group);
    io::Task<Result<Done>> wait_for_dial(Found& group);
    io::Task<Result<std::unique_ptr<Link>>> dial(const Hop& hop);
    io::Task<Result<Secured>> secure(const Hop& hop);
    Link* best(Group& group) const;
    static bool newest_is_barren(const Group& group);
    bool may_dial(const Group& group) const;
    Result<Done> start_dial(Found& group);
    void dialled(Group& group, const Result<Done>& how);
    void drop_if_unused(Found& group);
    void look_later();
    void due() override;

    PodView& pod_;
    io::Scope lives_;
    io::Scope dials_;        // inside the lives: end() cancels them, and lets links wait for their tunnels
    Groups groups_;          // nodes never move
    std::size_t links_ = 0;  // also those being dialled
    bool closed_ = false;
};

}  // namespace culvert::ztunnel
