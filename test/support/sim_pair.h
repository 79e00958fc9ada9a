// The usual stage of a test: a client's pod on node 0, a server's pod with a server in it on node 1, both
// enrolled and known to the directory, in one simulated world.
#pragma once
#include "test/support/run.h"
#include "test/support/sim_apps.h"
#include "test/support/sim_peer.h"
#include "test/support/sim_world.h"

#include <optional>

namespace culvert::test {

inline const Ip client_ip = *Ip::parse("10.1.0.1");
inline const Ip server_ip = *Ip::parse("10.2.0.1");
inline const Ip other_ip = *Ip::parse("10.1.0.9");
inline const Address server_at{server_ip, 8080};
inline const Address server_hbone{server_ip, 15008};
inline const mesh::Identity client_identity{"cluster.local", "test", "client"};
inline const mesh::Identity server_identity{"cluster.local", "test", "server"};

std::vector<Visit> visits_of(std::size_t count, std::size_t size);

class SimPair {
public:
    SimPair(const io::SimOptions& options, Temper temper, const ztunnel::Settings& settings = {});
    ~SimPair();

    void start(std::vector<Visit>& visits);
    void start(Visit& visit) { start(visit, client->where, server_at); }
    void start(Visit& visit, io::Namespace from, Address to);
    bool finished() const { return clients.children() == 0; }
    // Until every visit is over. Virtual time is cheap: an hour ends whatever has a deadline.
    bool run();
    bool run(Duration at_most, const std::function<bool()>& enough) {
        return world.run(at_most, enough) == io::SimNetwork::Rest::enough;
    }
    void pass(Duration time) { (void)world.run(time); }
    // What `task` returns; the world goes on meanwhile.
    template <class T> T by_hand(io::Task<T> task) {
        std::optional<T> out;
        check(clients.start(keep(out, std::move(task))));
        check(run(std::chrono::hours(1), [&out] { return out.has_value(); }));
        return *std::move(out);
    }
    PeerParts hand(io::Namespace where, mesh::Identity identity) {
        return {world.apps(), where, world.handshakes(), std::move(identity)};
    }
    Duration now() const { return world.network.clock().now().since_start; }

    // An authorization policy of the server's namespace.
    void deny(const std::string& account);
    void publish(mesh::Workload workload);
    std::uint64_t refusals(std::size_t node, ztunnel::Direction direction, Reason why);

    // Ends everything; true: nothing is left, and nothing crossed in the clear.
    bool close();

    SimWorld world;
    SimPod* client = nullptr;
    SimPod* server = nullptr;
    Server served;
    io::Scope clients;
    io::Scope servers;

private:
    bool closed_ = false;
};

}  // namespace culvert::test
