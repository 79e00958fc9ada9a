// The composition root: builds and wires the controller's parts in order, and takes them down in the opposite
// one.
//
// Threads: the graph's executor owns the mesh (engine.h); gRPC's threads serve nodes; the manifests' watch
// waits on inotify; the caller of run() runs the control port's loop. What they share are immutable
// snapshots, values under a short lock, and atomics.
#pragma once
#include "controller/mesh.h"
#include "lib/base/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace culvert::controller {

struct Options {
    Mesh mesh;
    std::string manifests = "/etc/culvert/manifests";
    std::string state_dir = "/var/lib/culvert";
    std::string listen = "[::]:15012";
    std::string status = "127.0.0.1:15014";  // names of pods and why they were refused are not for everyone
    std::vector<std::string> serving_names;  // beside localhost and the names that Istio's defaults use
};

class Server {
public:
    // Errors are for people: what is wrong with which file, flag or port, and the fix.
    static Result<std::unique_ptr<Server>> start(const Options& options);
    ~Server();
    Server(const Server&) = delete;

    void run();                  // serves the control port until stop()
    void stop();                 // from any thread
    std::uint16_t port() const;  // of discovery
    std::uint16_t status_port() const;

private:
    struct Inside;
    explicit Server(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

}  // namespace culvert::controller
