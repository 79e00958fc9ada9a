#include "ztunnel/access_log.h"

#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace culvert::ztunnel {

namespace {

constexpr std::string_view target = "access";

using Fields = std::vector<log::Field>;

void add_text(Fields& fields, std::string_view name, std::string_view value) {
    if (!value.empty()) fields.push_back(log::text(name, value));
}

void add_address(Fields& fields, std::string_view name, const Address& value) {
    if (value.port != 0) fields.push_back(log::address(name, value));
}

// "13ms", as the reference prints it.
std::string milliseconds(Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()) + "ms";
}

// The next hop; inbound, and before there is one, what was asked for.
const Address& destination(const Connection& connection) {
    bool hop = connection.direction == Direction::outbound && connection.next_hop.port != 0;
    return hop ? connection.next_hop : connection.original_destination;
}

// L-2's fields up to `direction`, in its order.
Fields who(const Connection& connection) {
    static const Flow::Texts nobody;
    const Flow::Texts& texts = connection.flow() ? connection.flow()->texts() : nobody;
    Fields fields;
    fields.reserve(20);
    add_address(fields, "src.addr", connection.source);
    add_text(fields, "src.workload", texts.source_workload);
    add_text(fields, "src.namespace", texts.source_namespace);
    add_text(fields, "src.identity", texts.source_identity);
    add_text(fields, "src.cluster", texts.source_cluster);
    add_address(fields, "dst.addr", destination(connection));
    if (connection.authority_name)
        add_text(fields, "dst.hbone_addr", *connection.authority_name);
    else
        add_address(fields, "dst.hbone_addr", connection.authority);
    add_text(fields, "dst.service", texts.service);
    add_text(fields, "dst.workload", texts.workload);
    add_text(fields, "dst.namespace", texts.name_space);
    add_text(fields, "dst.identity", texts.identity);
    add_text(fields, "dst.cluster", texts.cluster);
    fields.push_back(log::text("direction", word(connection.direction)));
    return fields;
}

}  // namespace

void AccessLog::opened(const Connection& connection) {
    if (!log::enabled(log::Level::debug, target)) return;
    log::write(log::Level::debug, target, "connection opened", who(connection));
}

void AccessLog::ended(const Connection& connection, const Error& how, Instant now) {
    bool clean = how.reason == Reason::none;
    bool early = connection.flow() == nullptr;
    log::Level level = clean ? log::Level::info : early ? log::Level::warn : log::Level::error;
    if (!log::enabled(level, target) || (!clean && !refusals_.take(now))) return;
    Fields fields = who(connection);
    std::string duration = milliseconds(now - connection.since);
    if (!early) {
        fields.push_back(log::number("bytes_sent", connection.sent_bytes()));
        fields.push_back(log::number("bytes_recv", connection.received_bytes()));
        fields.push_back(log::text("duration", duration));
    }
    std::string error = clean ? "" : error_text(how);
    add_text(fields, "error", error);
    std::uint64_t suppressed = clean ? 0 : refusals_.refused();
    if (suppressed != 0) fields.push_back(log::number("suppressed", suppressed));
    if (!clean) add_text(fields, "reason", word(how.reason));
    log::write(level, target, early ? "connection failed" : "connection complete", fields);
}

bool LineBudget::take(Instant now) {
    auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - refilled_at_).count();
    std::uint64_t more = static_cast<std::uint64_t>(std::min<std::int64_t>(passed, 1000)) * a_second / 1000;
    if (more != 0) {
        left_ = std::min(burst, left_ + more);
        refilled_at_ = now;
    }
    if (left_ == 0) {
        ++refused_;
        return false;
    }
    --left_;
    return true;
}

std::string error_text(const Error& how) {
    if (!how.text.empty()) return how.text;
    switch (how.reason) {
    case Reason::connect_rejected: return "http status: " + std::to_string(how.detail);
    case Reason::connect_timed_out:  // H-42
        return "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008";
    case Reason::policy_changed: return "connection closed due to policy change";
    case Reason::policy_denied: return "connection closed due to policy rejection";
    case Reason::source_unknown: return "unknown source";
    case Reason::no_healthy_upstream: return "no healthy upstream";
    case Reason::loop_to_ourselves: return "attempted recursive call to ourselves";
    default: return how.to_string();
    }
}

}  // namespace culvert::ztunnel
