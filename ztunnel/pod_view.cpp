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
    auto from = peer.peer();
    bool may = from && may_arrive(from->ip);
    if (!may) peer.reset_on_close();
    Address caller = from ? *from : Address();
    start(Direction::inbound, serve_inbound(*this, std::move(peer), caller), may);
}

bool PodView::may_arrive(Ip caller) const {
    const Settings& settings = shard_.settings();
    if (half_open_ >= settings.handshakes_max || accepted_.size() >= settings.accepted_links_max)
        return false;
    auto known = callers_.find(caller);
    if (known == callers_.end()) return true;
    return known->second.links < settings.links_of_caller_max &&
           known->second.half_open < settings.handshakes_of_caller_max;
}

bool PodView::count_held(std::size_t now, std::size_t before) {
    held_ += now - before;
    shard_.count_held(now, before);
    return held_ <= shard_.settings().held_of_pod_max && !shard_.holds_too_much();
}

Duration PodView::handshake_time() const {
    const Settings& settings = shard_.settings();
    return half_open_ > settings.handshakes_max / 2 ? settings.handshake / 5 : settings.handshake;
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

PodView::Arrival::Arrival(PodView& pod, Ip caller) : pod_(pod), caller_(caller) {
    Caller& of = pod_.callers_[caller_];
    ++of.links;
    ++of.half_open;
    ++pod_.half_open_;
}

void PodView::Arrival::proved(Link& link) {
    --pod_.callers_[caller_].half_open;
    --pod_.half_open_;
    link_ = &link;
    pod_.accepted_.push_back(link_);
    if (pod_.draining_) link_->drain();
}

PodView::Arrival::~Arrival() {
    Caller& of = pod_.callers_[caller_];
    if (link_) {
        std::erase(pod_.accepted_, link_);
    } else {
        --of.half_open;
        --pod_.half_open_;
    }
    if (--of.links == 0) pod_.callers_.erase(caller_);
}

}  // namespace culvert::ztunnel
