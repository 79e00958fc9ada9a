// One enrolled pod on one loop: the only door into the data path. The control side (pods.h, worker.h) opens
// listeners, accepts, picks a loop and gives the socket to that loop's PodView; what follows is outbound.h,
// inbound.h or passthrough.h.
//
// Owned by the control side, lives on its shard's loop. Before it is destroyed: cut() or drain(), then
// join(). Its links and connections are its own: pods share no link (decision 8). Bounds: Settings'
// sockets_max, handshakes_max, accepted_links_max and what of them one caller may have; above them a socket
// is reset, a CONNECT refused, and both are counted as Reason::limit (S21).
#pragma once
#include "lib/base/reason.h"
#include "lib/io/driver.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "lib/mesh/directory.h"
#include "ztunnel/pool.h"
#include "ztunnel/shard.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::ztunnel {

// Who the pod is: what ZDS says (Z-3). Immutable and shared by the loops.
struct PodInfo {
    std::string uid;  // of ZDS; unrelated to the uid in WDS
    std::string name;
    std::string name_space;
    std::string service_account;
    io::Namespace where;
    std::vector<Ip>
        addresses;  // its namespace's, for the provisional record until WDS knows the pod (decision 10)
    bool real_client =
        true;  // the app sees the real client through the agent's socket option (decision 2, S3)
};

class PodView {
public:
    static constexpr int beginning_crowd = 64;

    PodView(Shard& shard, std::shared_ptr<const PodInfo> info);
    ~PodView();
    PodView(const PodView&) = delete;
    PodView& operator=(const PodView&) = delete;

    // Accepted sockets of this pod's listeners, by port.
    void outbound(io::Socket app);        // 15001
    void inbound(io::Socket peer);        // 15008
    void passthrough(io::Socket client);  // 15006

    // No new work, GOAWAY on all links; what runs goes on (H-36).
    void drain();
    // Ends everything now: apps see a reset, peers GOAWAY and the end of the link, the access log says `why`
    // (R-15, W-13).
    void cut(Reason why);
    // After one of them: until every connection and link has really ended.
    io::Task<Done> join();

    const PodInfo& info() const { return *info_; }
    Shard& shard() { return shard_; }
    Pool& pool() { return pool_; }
    // So many connections are beginning that accepting had better be slower (docs/limits.md:
    // ztunnel.beginning): a beginning takes 3 KB, what runs 1 KB.
    bool crowded() const { return beginning_ >= beginning_crowd; }
    void beginning(int more) { beginning_ += more; }
    // For another socket of an app, or of a peer in plain TCP.
    bool has_room() const { return sockets_ < shard_.settings().sockets_max; }
    void count_sockets(int more) { sockets_ += static_cast<std::size_t>(more); }
    // `now` instead of `before` (S18). False: the pod, or all of them, hold too much.
    bool count_held(std::size_t now, std::size_t before);
    // Many strangers at once get less time to prove who they are.
    Duration handshake_time() const;
    bool idle() const { return connections_.children() == 0 && pool_.links() == 0; }

    // The pod itself in this snapshot; null: WDS does not know it yet.
    mesh::WorkloadPtr self(const mesh::Directory& directory) const;
    // What ZDS says of it, until WDS does: good for asking, never for judging who may come in (decision 10).
    const mesh::WorkloadPtr& provisional() const { return provisional_; }
    mesh::Identity identity() const;  // WDS's, else the provisional one

    // For inbound.cpp: a link that is being accepted, then runs. The caller's address counts all of its own.
    class Arrival {
    public:
        Arrival(PodView& pod, Ip caller);
        ~Arrival();
        Arrival(const Arrival&) = delete;
        void proved(Link& link);  // no longer half-open

    private:
        PodView& pod_;
        Ip caller_;
        Link* link_ = nullptr;
    };

private:
    friend class Shard;
    struct Caller {
        std::uint32_t links = 0;  // with the half-open ones
        std::uint32_t half_open = 0;
    };
    void start(Direction direction, io::Task<void> serving, bool may);
    bool may_arrive(Ip caller) const;
    void end_links_of(const mesh::Identity& identity, Reason why);

    Shard& shard_;
    std::shared_ptr<const PodInfo> info_;
    mesh::WorkloadPtr provisional_;
    io::Scope connections_;  // outlived by the pool, whose links carry them
    Pool pool_;
    std::vector<Link*> accepted_;
    std::unordered_map<Ip, Caller> callers_;  // with a link, or on the way to one
    std::size_t half_open_ = 0;
    std::size_t sockets_ = 0;
    std::size_t held_ = 0;
    int beginning_ = 0;
    bool draining_ = false;
};

}  // namespace culvert::ztunnel
