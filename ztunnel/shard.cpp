#include "ztunnel/shard.h"

#include "ztunnel/admission.h"
#include "ztunnel/pod_view.h"

namespace culvert::ztunnel {

Shard::Shard(const ShardParts& parts) : parts_(parts), telemetry_(parts.metrics) {}

Shard::~Shard() {
    check(pods_.empty());
    loop().disarm(*this);
}

void Shard::publish(mesh::DirectoryPtr directory) {
    mesh::DirectoryPtr before = std::exchange(directory_, std::move(directory));
    for (Reader* reader : readers_) reader->newer.set();
    if (before && before->policy_version() != directory_->policy_version()) judge_again();
}

// R-11, with the pod's record of today, not of when the connection began (W-3).
void Shard::judge_again() {
    connections_.for_each([this](Connection& each) {
        if (each.direction == Direction::inbound && each.flow() && !still_allowed(each, *directory_)) {
            each.cut(Reason::policy_changed);
        }
    });
}

void Shard::look_later() {
    if (!armed()) loop().arm(*this, loop().now() + settings().look_for_gone);
}

// A reset or a keepalive that found nobody shows at the socket, also while nobody reads from it.
void Shard::due() {
    connections_.for_each([](Connection& each) {
        if (each.broken()) each.cut(Reason::reset);
    });
    if (connections_.size() != 0) look_later();
}

Shard::Reader::Reader(Shard& of) : shard(of), newer(of.loop()) { shard.readers_.push_back(this); }
Shard::Reader::~Reader() { std::erase(shard.readers_, this); }

io::Task<Result<Done>> Shard::published() {
    Reader reader(*this);
    co_return co_await reader.newer.wait();
}

io::Task<Result<std::shared_ptr<const tls::Credential>>> Shard::credential(mesh::Identity identity) {
    auto asked = parts_.credentials.get(std::move(identity));
    auto got = co_await io::within(parts_.loop, settings().credential_wait, std::move(asked));
    if (!got && got.error().reason == Reason::timed_out) co_return refuse(Reason::no_certificate);
    co_return got;
}

void Shard::roots_changed(const mesh::Identity& identity) {
    for (PodView* pod : pods_) pod->end_links_of(identity, Reason::roots_changed);
}

}  // namespace culvert::ztunnel
