// ZDS over its socket: accepts ztunnels, lets in only the expected one (S9), runs a session for each
// connection. Two at once are normal while one replaces the other: the newest gets Adds, all get removals
// (Z-10).
//
// Lives on the agent's loop. Limits: 8 connections, 5 accepted a second (Z-10), 5 seconds for a write and for
// an answer.
#pragma once
#include "agent/cgroup.h"
#include "agent/pods.h"
#include "agent/zds.h"
#include "agent/zds_peer.h"
#include "lib/io/scope.h"
#include "lib/io/seqpacket.h"

#include <functional>
#include <list>
#include <map>
#include <memory>

namespace culvert::agent {

class ZdsServer final : public Ztunnels {
public:
    static constexpr std::size_t connections_max = 8;  // docs/limits.md: zds.connections_max

    struct Connected {
        pid_t pid = 0;
        bool live = false;  // has the whole snapshot
        bool newest = false;
    };

    // `changed` is called on the loop whenever an answer or a connection came or went.
    ZdsServer(io::Loop& loop, const Group& ztunnel, ExpectedPeer expected, std::function<void()> changed);
    ~ZdsServer();

    Result<Done> listen(const std::string& path);
    io::Task<Result<Done>> serve();  // until cancelled

    void tell(const Workload& workload, int netns) override;
    void untell(const std::string& uid) override;
    void ask_again(const std::string& uid) override;
    bool told(const std::string& uid) const override { return pods_.contains(uid); }
    ZtunnelAnswer answer(const std::string& uid) const override;

    std::vector<Connected> connected() const;
    const std::string& last_refusal() const { return last_refusal_; }  // of a peer that was not let in

private:
    struct Connection;
    struct Told {
        Workload workload;
        int netns = -1;  // the pod's owner keeps it open
    };
    using Place = std::list<std::unique_ptr<Connection>>::iterator;

    Result<Done> admit(const io::PacketSocket& socket, Connection& connection);
    void let_in(io::PacketSocket socket);
    io::Task<Result<Done>> attend(Place at);
    io::Task<Result<Done>> listen_to(Connection& connection);
    io::Task<Result<Done>> talk_to(Connection& connection);
    io::Task<Result<Done>> deliver(Connection& connection, ZdsSession::Outgoing outgoing);
    Connection* newest() const;
    std::vector<Workload> workloads() const;

    io::Loop& loop_;
    const Group& ztunnel_;
    ExpectedPeer expected_;
    std::function<void()> changed_;
    std::string path_;
    std::optional<io::PacketListener> listener_;
    std::list<std::unique_ptr<Connection>> connections_;  // oldest first
    std::map<std::string, Told, std::less<>> pods_;
    std::string last_refusal_;
    std::uint64_t last_number_ = 0;
    io::Scope children_;
};

}  // namespace culvert::agent
