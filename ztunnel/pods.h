// The pods of this node, as the agent names them: starts and ends one on every loop (worker.h), with its
// listeners open before an addition is answered. Lives on the control loop; ZDS (zds.h) is its only caller.
//
// Order of a start: the pod's view on every loop, then its listeners, so that nothing that is accepted finds
// no door. Of an end: the listeners first, then every connection is cut. Errors of add(): what failed,
// with the port or namespace it failed on; nothing is left behind then.
#pragma once
#include "lib/base/fd.h"
#include "lib/io/scope.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/worker.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace culvert::ztunnel {

// What an AddWorkload says (Z-3, Z-4).
struct AddedPod {
    std::string uid;
    std::string name;
    std::string name_space;
    std::string service_account;
    Fd network_namespace;
};

// What ZDS needs of the node. Two implementations: Pods, and a recorder in tests.
class PodKeeper {
public:
    virtual ~PodKeeper() = default;
    // Idempotent for the same namespace (by device and inode); another namespace replaces the pod (Z-6).
    virtual io::Task<Result<Done>> add(AddedPod spec) = 0;
    // Unknown is fine (Z-6). Returns when every connection has really ended; after an error the pod is still
    // known, and may be removed again.
    virtual io::Task<Result<Done>> remove(std::string uid) = 0;
    virtual std::vector<std::string> uids() const = 0;
};

class Pods final : public PodKeeper {
public:
    // The workers outlive it.
    Pods(io::Loop& loop, std::vector<Worker*> workers, const DoorSettings& doors, Registry& metrics);
    ~Pods() override;

    io::Task<Result<Done>> add(AddedPod spec) override;
    io::Task<Result<Done>> remove(std::string uid) override;
    std::vector<std::string> uids() const override;

    // For the end of the process: neither add() nor remove() runs then or later.
    // No new connection is accepted, links say GOAWAY; what runs goes on (H-36). An error of one pod does not
    // hinder the others.
    io::Task<Result<Done>> drain();
    // After an error some are left: to be asked again.
    io::Task<Result<Done>> cut_all(Reason why);

    // For /config_dump's workloadState.
    std::vector<std::shared_ptr<const PodInfo>> list() const;

private:
    struct Kept;
    io::Task<Result<Done>> open(Kept& pod);
    io::Task<Result<Done>> close(Kept& pod, Reason why);
    io::Task<void> drain_one(Kept& pod);
    io::Task<void> end_one(Kept& pod, Reason why);

    io::Loop& loop_;
    std::vector<Worker*> workers_;
    DoorSettings doors_;
    Gauge& active_;
    Counter& started_;
    Counter& stopped_;
    std::map<std::string, std::unique_ptr<Kept>> pods_;
};

}  // namespace culvert::ztunnel
