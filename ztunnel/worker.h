// One loop of the data path with its thread: ring, shard, credentials, and the doors of all pods. Each pod
// has a door on every worker; its listeners live on one of them (decision 3), which hands what it accepts to
// the workers in turn, before a coroutine is born: from then on a connection never moves.
//
// Made and destroyed by the composition root; its methods may be called from any thread.
#pragma once
#include "lib/io/loop.h"
#include "lib/io/scope.h"
#include "lib/tls/handshake.h"
#include "ztunnel/certs.h"
#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/shard.h"

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace culvert::ztunnel {

// Where a pod's listeners are to stand.
struct DoorSettings {
    std::uint16_t outbound = 15001, inbound = 15006, hbone = 15008;
    bool ipv6 = true;                // C-1
    bool reuse_port = true;          // C-3
    std::uint32_t mark = 0;          // C-2
    bool announce = true;            // tell the kernel each listener's role: the agent is ours
    bool dns = true;                 // D-1: answer captured DNS at 15053
    std::vector<Address> resolvers;  // D-13: who knows what the mesh does not
};

class Worker {
public:
    // All three outlive it.
    static Result<std::unique_ptr<Worker>> make(const Settings& settings, Certs& certs, Registry& metrics);
    ~Worker();  // stop()s
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Its thread begins. `all` share what listeners accept, this one among them.
    void start(std::vector<Worker*> all);
    void stop();  // after every pod has left; joins the thread
    io::Loop& loop() { return loop_; }
    void publish(mesh::DirectoryPtr directory);
    void roots_changed(const mesh::Identity& identity);

    // ---- asked from the loop `here`, done on its own (call.h)
    io::Task<Result<Done>> open_door(io::Loop& here, std::shared_ptr<const PodInfo> info);
    // Errors: what failed, with the port it failed on.
    io::Task<Result<Done>> listen(io::Loop& here, std::string uid, DoorSettings doors);
    // Takes what is queued, then closes: a successor that listens already gets the rest (kernel contract g).
    io::Task<Result<Done>> stop_listening(io::Loop& here, std::string uid);
    // Returns when every connection has really ended. Unknown is fine.
    io::Task<Result<Done>> close_door(io::Loop& here, std::string uid, Reason why);
    io::Task<Result<std::vector<ConnectionLine>>> connections(io::Loop& here);
    io::Task<Result<std::size_t>> open_connections(io::Loop& here);
    io::Task<Result<std::string>> parked(io::Loop& here);
    void drain(std::string uid);  // asks only

private:
    struct Door;
    using Enter = void (PodView::*)(io::Socket);

    Worker(std::unique_ptr<io::Driver> driver, const Settings& settings, Certs& certs, Registry& metrics);
    // On its loop.
    Result<Done> listen_here(const std::string& uid, const DoorSettings& doors);
    Result<Done> serve_dns(Door& door, const DoorSettings& doors);
    io::Task<Result<Done>> stop_listening_here(std::string uid);
    io::Task<Result<Done>> close_door_here(std::string uid, Reason why);
    Door* door(const std::string& uid);
    void admit(const std::string& uid, io::Socket socket, Enter enter);
    io::Task<void> accept_all(Door& door, io::Listener& listener, Enter enter);
    io::Task<void> take_queued(Door& door, io::Listener& listener, Enter enter);

    Registry& metrics_;
    io::Loop loop_;
    io::Scope scope_;  // of tasks that others wait for
    std::shared_ptr<LoopCredentials> credentials_;
    tls::OpensslHandshakes handshakes_;
    std::unique_ptr<Shard> shard_;
    std::map<std::string, std::unique_ptr<Door>> doors_;
    std::vector<Worker*> all_;
    std::size_t next_ = 0;
    std::thread thread_;
};

}  // namespace culvert::ztunnel
