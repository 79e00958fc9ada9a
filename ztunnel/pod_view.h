// One enrolled pod on one loop: the only door into the data path. The control side (pods.h, worker.h) opens
// listeners, accepts, picks a loop and gives the socket to that loop's PodView; what follows is outbound.h,
// inbound.h or passthrough.h.
//
// Owned by the control side, lives on its shard's loop. Before it is destroyed: cut() or drain(), then
// join(). Its links and connections are its own: pods share no link (decision 8). Bounds: Settings'
// connections_max, handshakes_max and accepted_links_max; above them a socket is reset and counted as
// Reason::limit.
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
    bool draining() const { return draining_; }
    // So many connections are beginning that accepting had better be slower (docs/limits.md:
    // ztunnel.beginning): a beginning takes 3 KB, what runs 1 KB.
    bool crowded() const { return beginning_ >= beginning_crowd; }
    void beginning(int more) { beginning_ += more; }
    bool idle() const { return connections_.children() == 0 && pool_.links() == 0; }

    // The pod itself in this snapshot; null: WDS does not know it yet.
    mesh::WorkloadPtr self(const mesh::Directory& directory) const;
    // What ZDS says of it, until WDS does: good for asking, never for judging who may come in (decision 10).
    const mesh::WorkloadPtr& provisional() const { return provisional_; }
    mesh::Identity identity() const;  // WDS's, else the provisional one

    // For inbound.cpp: half-open handshakes, and the links that this pod has accepted.
    class HalfOpen {
    public:
        explicit HalfOpen(PodView& pod) : pod_(pod) { ++pod_.half_open_; }
        ~HalfOpen() { --pod_.half_open_; }
        HalfOpen(const HalfOpen&) = delete;

    private:
        PodView& pod_;
    };
    class Accepted {
    public:
        Accepted(PodView& pod, Link& link);
        ~Accepted();
        Accepted(const Accepted&) = delete;

    private:
        PodView& pod_;
        Link& link_;
    };

private:
    friend class Shard;
    void start(Direction direction, io::Task<void> serving, bool may);
    bool has_room() const;
    void end_links_of(const mesh::Identity& identity, Reason why);

    Shard& shard_;
    std::shared_ptr<const PodInfo> info_;
    mesh::WorkloadPtr provisional_;
    io::Scope connections_;  // outlived by the pool, whose links carry them
    Pool pool_;
    std::vector<Link*> accepted_;
    std::size_t half_open_ = 0;
    int beginning_ = 0;
    bool draining_ = false;
};

}  // namespace culvert::ztunnel
