// Two nodes and their pods on the simulated network: all production code of the data path, with given
// identities and secrets instead of OpenSSL's handshake (decision 23). One thread, virtual time; a seed
// replays a run exactly.
//
// The world enrols pods as the agent does (listeners in the pod's namespace, then capture), plays the
// controller with DirectoryWriter, and ends with close(), which checks that nothing is left: no task,
// operation, buffer or socket.
#pragma once
#include "lib/base/metrics.h"
#include "lib/io/sim.h"
#include "lib/mesh/directory_writer.h"
#include "test/support/given_handshake.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/shard.h"

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace culvert::test {

// Certificates without keys, there at once; or, while `withheld`, never.
class GivenCredentials final : public ztunnel::Credentials {
public:
    explicit GivenCredentials(io::SimNetwork& network) : network_(network) {}
    io::Task<Result<std::shared_ptr<const tls::Credential>>> get(mesh::Identity identity) override;

    bool withheld = false;
    Duration lifetime = std::chrono::hours(24);

private:
    io::SimNetwork& network_;
};

// A node's proxy: one loop, one shard.
struct SimNode {
    SimNode(io::SimNetwork& network, const ztunnel::Settings& settings, GivenCredentials& credentials,
            tls::HandshakeMaker& handshakes);
    io::SimDriver& driver() { return static_cast<io::SimDriver&>(loop.driver()); }

    Registry metrics;
    io::Loop loop;
    ztunnel::Shard shard;
};

// An enrolled pod.
struct SimPod {
    SimPod(SimNode& on, io::Namespace where, std::shared_ptr<const ztunnel::PodInfo> info);
    bool listen();

    SimNode& node;
    io::Namespace where;
    ztunnel::PodView view;
    io::Scope listening;
};

class SimWorld {
public:
    explicit SimWorld(const io::SimOptions& options, const ztunnel::Settings& settings = {});
    ~SimWorld();

    // What the directory is to say of a pod at `ip` that runs as service account `account`.
    static mesh::Workload workload(const std::string& name, Ip ip, const std::string& account);

    // In the mesh: namespace, listeners and capture. The directory is the caller's business: publish().
    SimPod& enrol(std::size_t node, const mesh::Workload& as);
    io::Namespace add_plain(const std::string& name, Ip ip);  // a pod outside the mesh
    void publish(const mesh::Delta& delta);                   // to both nodes

    // Until `enough`, or nothing can happen any more, or `at_most` of virtual time has passed.
    io::SimNetwork::Rest run(Duration at_most, const std::function<bool()>& enough = {});
    // Cuts, joins, and checks what must be gone.
    void close();

    io::Loop& apps() { return apps_; }
    tls::HandshakeMaker& handshakes() { return handshakes_; }
    SimNode& node(std::size_t i) { return *nodes_[i]; }

    io::SimNetwork network;
    GivenCredentials credentials;
    mesh::DirectoryWriter directory;

private:
    ztunnel::Settings settings_;
    SeededRandom secrets_;
    GivenHandshakes handshakes_;
    io::Loop apps_;
    std::array<std::unique_ptr<SimNode>, 2> nodes_;
    std::vector<std::unique_ptr<SimPod>> pods_;
    bool closed_ = false;
};

}  // namespace culvert::test
