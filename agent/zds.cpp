#include "agent/zds.h"

#include "proto/zds.pb.h"

#include <algorithm>

namespace culvert::agent {
namespace {

namespace zds = istio::workload::zds;

Buffer packet_of(const zds::WorkloadRequest& request) {
    std::string text = request.SerializeAsString();
    ConstBytes bytes = as_bytes(text);
    return Buffer(bytes.begin(), bytes.end());
}

zds::WorkloadRequest add_message(const Workload& workload) {
    zds::WorkloadRequest request;
    zds::AddWorkload* add = request.mutable_add();
    add->set_uid(workload.uid);
    add->mutable_workload_info()->set_name(workload.name);
    add->mutable_workload_info()->set_namespace_(workload.name_space);
    add->mutable_workload_info()->set_service_account(workload.service_account);
    return request;
}

constexpr std::size_t error_bytes_max = 512;  // of ztunnel's own words, as status shows them

}  // namespace

Result<ZdsSession::Heard> ZdsSession::received(ConstBytes packet, std::size_t descriptors) {
    if (descriptors != 0)
        return refuse(Reason::bad_input, "ztunnel sent a descriptor: only the agent does (Z-4)");
    int size = static_cast<int>(packet.size());
    if (!greeted_) {
        zds::ZdsHello hello;
        if (!hello.ParseFromArray(packet.data(), size) || hello.version() != zds::V1)
            return refuse(Reason::bad_input, "the first packet is no hello of version 1 (Z-2)");
        greeted_ = true;
        return Heard::hello;
    }
    zds::WorkloadResponse response;
    if (!response.ParseFromArray(packet.data(), size) || !response.has_ack())
        return refuse(Reason::bad_input, "a packet that is no acknowledgement (Z-2)");
    if (!outstanding_) return refuse(Reason::bad_input, "an acknowledgement of nothing (Z-10)");
    answered(response.ack().error().substr(0, error_bytes_max));
    return Heard::acknowledgement;
}

void ZdsSession::answered(std::string error) {
    Request request = *std::exchange(outstanding_, std::nullopt);
    if (request.kind == Kind::snapshot_sent) live_ = error.empty();
    auto known = known_.find(request.workload.uid);
    if (request.kind != Kind::add || known == known_.end()) return;
    // Asked for again meanwhile: this answer is an old one's.
    if (std::ranges::any_of(queue_,
                            [&](const Request& one) { return one.workload.uid == request.workload.uid; }))
        return;
    known->second = {error.empty() ? Ack::ok : Ack::failed, std::move(error)};
}

void ZdsSession::begin(const std::vector<Workload>& known) {
    queue_.clear();
    for (const Workload& workload : known) add(workload);
    queue_.push_back({});  // SnapshotSent
}

void ZdsSession::add(const Workload& workload) {
    if (!greeted_) return;  // begin() will name it
    std::erase_if(queue_, [&](const Request& one) {
        return one.kind == Kind::add && one.workload.uid == workload.uid;
    });
    queue_.push_back({Kind::add, workload});
    known_[workload.uid] = {};
}

void ZdsSession::remove(const std::string& uid) {
    if (!greeted_) return;
    std::erase_if(queue_, [&](const Request& one) {
        return one.kind != Kind::snapshot_sent && one.workload.uid == uid;
    });
    queue_.push_back({Kind::remove, {uid, {}, {}, {}}});  // of an unknown uid it is harmless (Z-6)
    known_.erase(uid);
}

std::optional<ZdsSession::Outgoing> ZdsSession::next() {
    if (!greeted_ || outstanding_ || queue_.empty()) return std::nullopt;
    outstanding_ = std::move(queue_.front());
    queue_.pop_front();
    zds::WorkloadRequest request;
    switch (outstanding_->kind) {
    case Kind::add:
        return Outgoing{packet_of(add_message(outstanding_->workload)), outstanding_->workload.uid};
    case Kind::remove: request.mutable_del()->set_uid(outstanding_->workload.uid); break;
    case Kind::snapshot_sent: request.mutable_snapshot_sent(); break;
    }
    return Outgoing{packet_of(request), {}};
}

Ack ZdsSession::ack(const std::string& uid) const {
    auto known = known_.find(uid);
    return known == known_.end() ? Ack::none : known->second.ack;
}

std::string ZdsSession::error_of(const std::string& uid) const {
    auto known = known_.find(uid);
    return known == known_.end() ? std::string() : known->second.error;
}

}  // namespace culvert::agent
