#include "ztunnel/pod_view.h"

#include "ztunnel/inbound.h"
#include "ztunnel/outbound.h"
#include "ztunnel/passthrough.h"

namespace culvert::ztunnel {

namespace {

mesh::WorkloadPtr provisional_record(const PodInfo& info, const Settings& settings) {
    mesh::Workload workload;
    workload.uid = "pod:" + info.uid;
    workload.name = info.name;
    workload.name_space = info.name_space;
    workload.service_account = info.service_account;
    workload.trust_domain = settings.trust_domain;
    workload.addresses = info.addresses;
    workload.network = settings.around.network;
    workload.cluster_id = settings.cluster;
    workload.node = settings.node;
    workload.tunnel_protocol = mesh::TunnelProtocol::hbone;
    return mesh::make_record(workload);
}

}  // namespace

PodView::PodView(Shard& shard, std::shared_ptr<const PodInfo> info)
    : shard_(shard), info_(std::move(info)), provisional_(provisional_record(*info_, shard.settings())),
      connections_(shard.loop()), pool_(*this) {
    shard_.pods_.push_back(this);
}

PodView::~PodView() { std::erase(shard_.pods_, this); }

void PodView::outbound(io::Socket app) {
    bool may = has_room();
    if (!may) app.reset_on_close();
    start(Direction::outbound, serve_outbound(*this, std::move(app)), may);
}

void PodView::inbound(io::Socket peer) {
    bool may = half_open_ < shard_.settings().handshakes_max &&
               accepted_.size() < shard_.settings().accepted_links_max;
    if (!may) peer.reset_on_close();
    start(Direction::inbound, serve_inbound(*this, std::move(peer)), may);
}

void PodView::passthrough(io::Socket client) {
    bool may = has_room();
    if (!may) client.reset_on_close();
    start(Direction::inbound, serve_passthrough(*this, std::move(client)), may);
}

// A task that is not started goes with its frame, and the socket in it.
void PodView::start(Direction direction, io::Task<void> serving, bool may) {
    if (may && !draining_ && connections_.start(std::move(serving))) return;
    shard_.telemetry().refused(direction, draining_ ? Reason::draining : Reason::limit);
}

bool PodView::has_room() const { return connections_.children() < shard_.settings().connections_max; }

void PodView::drain() {
    draining_ = true;
    for (Link* link : accepted_) link->drain();
    pool_.drain();
}

void PodView::cut(Reason why) {
    draining_ = true;
    shard_.connections().for_each([this, why](Connection& each) {
        if (&each.pod == this) each.cut(why);
    });
    for (Link* link : accepted_) link->end(why);
    pool_.end(why);
    connections_.cancel();
}

io::Task<Done> PodView::join() {
    co_await connections_.join();
    pool_.drain();
    co_await pool_.join();
    co_return Done{};
}

mesh::WorkloadPtr PodView::self(const mesh::Directory& directory) const {
    return directory.local_workload(info_->name_space, info_->name, info_->service_account);
}

mesh::Identity PodView::identity() const {
    mesh::WorkloadPtr known = shard_.directory() ? self(*shard_.directory()) : nullptr;
    return known ? known->identity() : provisional_->identity();
}

void PodView::end_links_of(const mesh::Identity& identity, Reason why) {
    pool_.end_links_of(identity, why);
    for (Link* link : accepted_) {
        if (link->own_identity() == identity) link->end(why);
    }
}

PodView::Accepted::Accepted(PodView& pod, Link& link) : pod_(pod), link_(link) {
    pod_.accepted_.push_back(&link_);
    if (pod_.draining_) link_.drain();
}

PodView::Accepted::~Accepted() { std::erase(pod_.accepted_, &link_); }

}  // namespace culvert::ztunnel
