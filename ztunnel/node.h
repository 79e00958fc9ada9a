// The composition root of ztunnel: constructs and wires everything in order, starts it, and ends it in the
// reverse order.
//
// Threads: one per worker (data path), one control loop (ZDS, pods, admin), one xDS executor (discovery and
// certificates), gRPC's own. Made, started and ended by main's thread.
#pragma once
#include "lib/base/metrics.h"
#include "lib/xds/executor.h"
#include "lib/xds/grpc_client.h"
#include "ztunnel/admin.h"
#include "ztunnel/certs.h"
#include "ztunnel/config.h"
#include "ztunnel/pods.h"
#include "ztunnel/worker.h"
#include "ztunnel/xds_feed.h"
#include "ztunnel/zds.h"

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace culvert::ztunnel {

class Node {
public:
    // Errors of make() and start() are the machine's or the configuration's: main prints them and exits with
    // 1. Nothing runs after one of them.
    static Result<std::unique_ptr<Node>> make(Config config);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    Result<Done> start();
    // H-36, wire.md 9: nothing new, GOAWAY; open connections go on until they end or the deadline has passed.
    // Then everything ends.
    void drain_and_stop();

private:
    explicit Node(Config config, std::unique_ptr<io::Driver> driver);
    Result<Done> make_workers();
    Result<Done> open_ports();
    void sample_process();
    io::Task<Result<std::string>> dump();
    std::vector<std::string> pending() const;
    io::Task<Result<std::string>> tasks();
    void publish(mesh::DirectoryPtr directory);
    template <class T> using Question = io::Task<Result<T>> (Worker::*)(io::Loop& here);
    template <class T> std::vector<io::Task<Result<T>>> ask_all(Question<T> question);
    void begin_end();
    io::Task<void> end();

    Config config_;
    Registry metrics_;
    xds::ThreadExecutor xds_executor_;
    std::unique_ptr<xds::DeltaTransport> discovery_;
    std::unique_ptr<xds::CaTransport> authority_;
    Certs certs_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::unique_ptr<XdsFeed> feed_;
    io::Loop loop_;     // control
    io::Scope scope_;   // admin
    io::Scope naming_;  // ZDS
    io::Scope ending_;  // drain_and_stop()
    std::unique_ptr<Pods> pods_;
    std::unique_ptr<Zds> zds_;
    Admin admin_;
    mutable std::mutex directory_lock_;
    mesh::DirectoryPtr directory_;
    std::thread thread_;
};

}  // namespace culvert::ztunnel
