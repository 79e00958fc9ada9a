// One enrolled pod on one loop: the only door into the data path. The control side (pod.h) opens listeners, accepts, picks a
// loop and gives the socket to that loop's PodView; what follows is outbound.h, inbound.h or passthrough.h.
//
// Owned by the control side, lives on its shard's loop. Before it is destroyed: cut(), then join(). Its links and
// connections are its own: pods share no link (decision 8).
#pragma once
#include "lib/base/reason.h"
#include "lib/io/driver.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "lib/mesh/identity.h"
#include "ztunnel/shard.h"

#include <memory>
#include <string>
#include <vector>

namespace culvert::ztunnel {

class Pool;

// Who the pod is: what ZDS says (Z-3). Immutable and shared by the loops.
struct PodInfo {
    std::string uid;  // of ZDS; unrelated to the uid in WDS
    std::string name;
    std::string name_space;
    std::string service_account;
    io::Namespace where;
    std::vector<Ip> addresses;  // its namespace's, for the provisional record until WDS knows the pod (decision 10)
    bool real_client = true;    // the app sees the real client through the agent's socket option (decision 2, S3)
};

class PodView {
public:
    PodView(Shard& shard, std::shared_ptr<const PodInfo> info);
    ~PodView();
    PodView(const PodView&) = delete;

    // Accepted sockets of this pod's listeners, by port. At a bound the socket is reset and counted.
    void outbound(io::Socket app);        // 15001
    void inbound(io::Socket peer);        // 15008
    void passthrough(io::Socket client);  // 15006

    // No new work, GOAWAY on accepted links; what runs goes on (H-36).
    void drain();
    // Ends everything now: apps see a reset, peers GOAWAY and RST_STREAM, the access log says `why`. Idempotent.
    void cut(Reason why);
    // Until every connection and link has really ended. Without cut(): until the apps are done.
    io::Task<Done> join();

    const PodInfo& info() const { return *info_; }
    std::shared_ptr<const PodInfo> shared_info() const { return info_; }
    Shard& shard() { return shard_; }
    bool draining() const { return draining_; }
    bool idle() const;  // no connection and no link

private:
    Shard& shard_;
    std::shared_ptr<const PodInfo> info_;
    bool draining_ = false;
};

}  // namespace culvert::ztunnel
