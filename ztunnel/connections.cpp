#include "ztunnel/connections.h"

#include "ztunnel/pod_view.h"

#include <utility>

namespace culvert::ztunnel {

std::string_view word(Protocol protocol) {
    switch (protocol) {
    case Protocol::hbone: return "HBONE";
    case Protocol::tcp:
    case Protocol::unknown: break;
    }
    return "TCP";
}

Connection::Connection(PodView& of, Direction towards)
    : pod(of), scope(of.shard().loop()), since(of.shard().loop().now()), direction(towards) {
    pod.shard().connections().add(*this);
    pod.shard().look_later();
    pod.shard().telemetry().sockets_open(direction).add(1);
    pod.beginning(1);
    pod.count_sockets(1);
}

Connection::~Connection() {
    settled();
    pod.count_sockets(-1);
    pod.count_held(0, held_);
    pod.shard().telemetry().sockets_open(direction).add(-1);
    pod.shard().connections().remove(*this);
}

void Connection::cut(Reason why) {
    if (cut_ == Reason::none) cut_ = why;
    scope.cancel();
}

// Outbound, the client is the app and sends; inbound it is behind the peer.
void Connection::count_sent(std::size_t bytes) {
    sent_bytes_ += bytes;
    if (!flow()) return;
    if (direction == Direction::outbound)
        flow()->count_client_bytes(bytes);
    else
        flow()->count_server_bytes(bytes);
}

void Connection::count_received(std::size_t bytes) {
    received_bytes_ += bytes;
    if (!flow()) return;
    if (direction == Direction::outbound)
        flow()->count_server_bytes(bytes);
    else
        flow()->count_client_bytes(bytes);
}

bool Connection::holds(std::size_t bytes) {
    bool more = bytes > held_;
    bool within = pod.count_held(bytes, std::exchange(held_, bytes));
    return within || !more;
}

void Connection::opened(FlowRef flow) {
    flow_ = std::move(flow);
    flow_.get()->count_opened();
    pod.shard().access_log().opened(*this);
}

void Connection::settled() {
    if (!std::exchange(settled_, true)) pod.beginning(-1);
}

void Connection::begun(const Result<Done>& how) {
    settled();
    if (how) return;
    refusal_ = std::make_unique<Error>(how.error());
    if (refusal_->reason == Reason::cancelled) refusal_->reason = cut_reason();
}

void Connection::ended(Reason how) {
    const Error end = refusal_ ? *refusal_ : Error{how, 0, {}};
    Shard& shard = pod.shard();
    if (end.reason != Reason::none) shard.telemetry().refused(direction, end.reason);
    if (flow()) flow()->count_closed(end.reason);
    shard.access_log().ended(*this, end, shard.loop().now());
}

std::vector<ConnectionLine> Connections::list() const {
    std::vector<ConnectionLine> lines;
    lines.reserve(size_);
    for_each([&lines](const Connection& each) {
        lines.push_back({each.pod.info().uid, each.direction, each.source, each.original_destination,
                         each.next_hop, each.protocol});
    });
    return lines;
}

void Connections::add(Connection& connection) {
    connection.after_ = first_;
    if (first_) first_->before_ = &connection;
    first_ = &connection;
    ++size_;
}

void Connections::remove(Connection& connection) {
    if (connection.before_)
        connection.before_->after_ = connection.after_;
    else
        first_ = connection.after_;
    if (connection.after_) connection.after_->before_ = connection.before_;
    --size_;
}

}  // namespace culvert::ztunnel
