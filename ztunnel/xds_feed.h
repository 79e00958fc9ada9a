// The controller's word becomes the node's directory: applies deltas, publishes each snapshot, and keeps
// certificates for what lives on this node (CA-11). The last directory stays in force while the controller is
// away.
//
// Lives on its executor, which is the directory's one writer; `publish` is called there and posts to the
// loops.
#pragma once
#include "lib/base/metrics.h"
#include "lib/mesh/directory_writer.h"
#include "lib/xds/session.h"
#include "ztunnel/certs.h"

#include <atomic>
#include <functional>
#include <map>
#include <string>

namespace culvert::ztunnel {

class XdsFeed final : xds::DeltaSession::Listener {
public:
    using Publish = std::function<void(mesh::DirectoryPtr)>;

    XdsFeed(xds::Executor& executor, xds::DeltaTransport& transport, xds::Node node, std::string node_name,
            Certs& certs, Publish publish, Registry& metrics);

    XdsFeed(const XdsFeed&) = delete;
    XdsFeed& operator=(const XdsFeed&) = delete;

    void start();  // on the executor
    void stop();   // on the executor; nothing is published afterwards

    // From any thread.
    bool is_ready() const { return ready_.load(std::memory_order_acquire); }          // 'state manager'
    bool is_connected() const { return connected_.load(std::memory_order_acquire); }  // for status

private:
    void delta(mesh::Delta delta) override;
    void ready() override;
    void connected(bool is) override;
    void follow(const mesh::Delta& delta);
    void place(const mesh::Workload& workload);
    void leave(std::string_view uid);

    mesh::DirectoryWriter writer_;
    std::string node_name_;
    Certs& certs_;
    Publish publish_;
    std::map<std::string, mesh::Identity, std::less<>> local_;  // uid -> identity of workloads that we host
    std::map<mesh::Identity, std::size_t> identities_;          // how many of them
    Gauge& workloads_;
    Gauge& policies_;
    Gauge& up_;
    std::atomic<bool> ready_ = false;
    std::atomic<bool> connected_ = false;
    xds::DeltaSession session_;
};

}  // namespace culvert::ztunnel
