// What status shows of the mesh, as a value: made by the graph's thread after each change, read by the
// control port.
#pragma once
#include "controller/mesh.h"
#include "lib/kube/manifests.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace culvert::controller {

struct Picture {
    struct Pod {
        std::string name;  // "shop/web"
        bool enrolled = false;
        std::string reason;
    };
    struct Node {
        std::string name;
        std::vector<Pod> pods;  // as its agent reported them
    };
    bool ready = false;                   // the manifests have been read, and what they say is published
    std::vector<kube::Problem> problems;  // errors of manifests: something is not in force
    std::vector<kube::Problem> warnings;  // remarks: in force, but perhaps not as meant
    std::map<std::string, std::size_t> objects;  // by kind
    std::size_t addresses = 0;
    std::size_t policies = 0;
    std::uint64_t sequence = 0;  // of the published snapshot
    std::vector<Node> nodes;
    kube::SnapshotPtr manifests;  // what remarks about the objects are made from, when somebody asks
    Mesh mesh;
};
using PicturePtr = std::shared_ptr<const Picture>;

// The latest one. Any thread.
class Board {
public:
    void set(PicturePtr picture) {
        const std::lock_guard guard(lock_);
        picture_ = std::move(picture);
    }
    PicturePtr get() const {  // null until somebody has looked at the manifests
        const std::lock_guard guard(lock_);
        return picture_;
    }

private:
    mutable std::mutex lock_;
    PicturePtr picture_;
};

}  // namespace culvert::controller
