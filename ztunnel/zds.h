// ZDS, ztunnel's half (wire facts Z-1 to Z-9, Z-11): connects to the agent, is told which pods are here,
// answers each request. On the control loop.
//
// A pod that fails to start is answered with the reason, kept, and tried again every 5 s (Z-7). A packet that
// makes no sense, or comes out of order, is refused and the connection begun anew (Z-8; W-16: never the end
// of the process). While there is no agent the pods are served on; only readiness is lost (Z-9).
#pragma once
#include "lib/base/metrics.h"
#include "lib/io/scope.h"
#include "lib/io/seqpacket.h"
#include "ztunnel/pods.h"
#include "ztunnel/zds_message.h"

#include <map>
#include <set>
#include <string>

namespace culvert::ztunnel {

class Zds {
public:
    static constexpr std::size_t pods_max = 10'000;  // docs/limits.md: zds.pods

    Zds(io::Loop& loop, PodKeeper& pods, std::string path, Registry& metrics);

    // Until stop(), or until the scope that runs it is cancelled.
    io::Task<void> run();
    // Takes no further request; run() ends when the one it may be at is answered.
    void stop();
    bool is_ready() const { return snapshot_ && pending_.empty(); }  // Z-11

private:
    io::Task<Result<Done>> session();
    io::Task<Result<Done>> serve(io::PacketSocket& socket);
    io::Task<Result<Done>> handle(zds::Request request);
    io::Task<Result<Done>> add(AddedPod pod);
    io::Task<Result<Done>> begin(AddedPod pod);
    io::Task<Result<Done>> snapshot();
    io::Task<void> retry();
    void mention(const std::string& uid);

    io::Loop& loop_;
    PodKeeper& pods_;
    std::string path_;
    io::Scope waiting_;  // for the agent, or for its next packet
    Gauge& pending_count_;
    std::map<std::string, AddedPod> pending_;  // failed to start
    std::set<std::string> mentioned_;          // until the snapshot is complete
    Instant retry_at_;
    bool snapshot_ = false;
    bool stopped_ = false;
};

}  // namespace culvert::ztunnel
