#include "lib/xds/session.h"

#include "lib/base/log.h"

#include <utility>

namespace culvert::xds {

DeltaSession::DeltaSession(Executor& executor, DeltaTransport& transport, Node node, Listener& listener,
                           Registry& metrics)
    : executor_(executor), transport_(transport), client_(std::move(node)), listener_(listener),
      metrics_(metrics) {}

DeltaSession::~DeltaSession() = default;

void DeltaSession::start() { open(); }

void DeltaSession::stop() {
    stopped_ = true;
    if (open_) transport_.close();
}

void DeltaSession::open() {
    open_ = true;
    opened_at_ = executor_.clock().now();
    transport_.open(*this);
    for (DeltaRequest& request : client_.opened()) transport_.send(std::move(request));
}

void DeltaSession::received(DeltaResponse response) {
    if (stopped_) return;
    if (!connected_) {
        connected_ = true;
        listener_.connected(true);
    }
    std::optional<Type> type = type_of(response.type_url);
    Labels labels{{"url", type ? response.type_url : "unknown"}};
    metrics_.counter("istio_xds_message", "Total number of messages received", labels).add();
    metrics_.counter("istio_xds_message_bytes", "Total number of bytes received", labels).add(response.bytes);
    DeltaClient::Taken taken = client_.received(std::move(response));
    if (taken.unknown_type)
        log::warn("xds", "response of an unknown type", {log::text("type", taken.reply.type_url)});
    for (const std::string& each : taken.rejected)
        log::warn("xds", "resource rejected", {log::text("resource", each)});
    if (!taken.unknown_type) listener_.delta(std::move(taken.delta));
    transport_.send(std::move(taken.reply));
    if (taken.became_ready) listener_.ready();
}

void DeltaSession::closed(StreamEnd end) {
    open_ = false;
    if (stopped_) return;
    if (std::exchange(connected_, false)) listener_.connected(false);
    metrics_
        .counter("istio_xds_connection_terminations", "Total number of XDS connection terminations",
                 {{"reason", std::string(word(end.kind))}})
        .add();
    Duration lived = executor_.clock().now() - opened_at_;
    Duration wait = reconnect_.after(end, lived, executor_.random());
    auto milliseconds =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(wait).count());
    log::warn("xds", "stream ended",
              {log::text("end", word(end.kind)), log::text("error", end.text),
               log::number("retry_ms", milliseconds)});
    executor_.after(wait, [this, alive = std::weak_ptr(alive_)] {
        if (alive.lock() && !stopped_) open();
    });
}

}  // namespace culvert::xds
