#include "ztunnel/xds_feed.h"

#include "lib/base/log.h"

#include <utility>

namespace culvert::ztunnel {

XdsFeed::XdsFeed(xds::Executor& executor, xds::DeltaTransport& transport, xds::Node node,
                 std::string node_name, Certs& certs, Publish publish, Registry& metrics)
    : node_name_(std::move(node_name)), certs_(certs), publish_(std::move(publish)),
      workloads_(metrics.gauge("culvert_directory_workloads", "Workloads that this node knows")),
      policies_(metrics.gauge("culvert_directory_policies", "Authorization policies that this node knows")),
      up_(metrics.gauge("culvert_controller_connected", "1 while the controller answers")),
      session_(executor, transport, std::move(node), *this, metrics) {}

void XdsFeed::start() { session_.start(); }
void XdsFeed::stop() { session_.stop(); }

void XdsFeed::delta(mesh::Delta delta) {
    mesh::DirectoryPtr next = writer_.apply(delta);
    if (writer_.unknown_removals() > 0)
        log::warn("xds", "removed what nobody knew",
                  {log::number("names", writer_.unknown_removals())});
    workloads_.set(static_cast<std::int64_t>(next->workloads()));
    policies_.set(static_cast<std::int64_t>(next->policies()));
    publish_(std::move(next));
    follow(delta);
}

void XdsFeed::ready() { ready_.store(true, std::memory_order_release); }

void XdsFeed::connected(bool is) {
    connected_.store(is, std::memory_order_release);
    up_.set(is ? 1 : 0);
}

void XdsFeed::follow(const mesh::Delta& delta) {
    if (node_name_.empty()) return;
    for (const auto& each : delta.addresses)
        if (const auto* workload = std::get_if<mesh::Workload>(&each)) place(*workload);
    for (const std::string& name : delta.removed_addresses) leave(name);
}

// CA-11: what lives here and speaks HBONE will need its certificate.
void XdsFeed::place(const mesh::Workload& workload) {
    bool tunnels = workload.tunnel_protocol == mesh::TunnelProtocol::hbone || workload.native_tunnel;
    if (workload.node != node_name_ || !tunnels) return leave(workload.uid);
    mesh::Identity identity = workload.identity();
    auto at = local_.find(workload.uid);
    if (at != local_.end() && at->second == identity) return;
    if (++identities_[identity] == 1) certs_.want(identity);
    leave(workload.uid);
    local_.emplace(workload.uid, std::move(identity));
}

void XdsFeed::leave(std::string_view uid) {
    auto at = local_.find(uid);
    if (at == local_.end()) return;
    auto count = identities_.find(at->second);
    if (--count->second == 0) {
        certs_.forget(at->second);
        identities_.erase(count);
    }
    local_.erase(at);
}

}  // namespace culvert::ztunnel
