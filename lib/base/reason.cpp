#include "lib/base/reason.h"

#include "lib/base/result.h"

namespace culvert {

// A switch without default: a new reason without a word does not compile.
std::string_view word(Reason reason) {  // tidy: one line a reason
    switch (reason) {
    case Reason::none: return "none";
    case Reason::internal: return "internal";
    case Reason::io: return "io";
    case Reason::cancelled: return "cancelled";
    case Reason::timed_out: return "timed_out";
    case Reason::connect_refused: return "connect_refused";
    case Reason::connect_timed_out: return "connect_timed_out";
    case Reason::unreachable: return "unreachable";
    case Reason::reset: return "reset";
    case Reason::closed: return "closed";
    case Reason::no_buffers: return "no_buffers";
    case Reason::limit: return "limit";
    case Reason::bad_input: return "bad_input";
    case Reason::bad_configuration: return "bad_configuration";
    case Reason::missing_feature: return "missing_feature";
    case Reason::permission: return "permission";
    case Reason::unsupported: return "unsupported";
    case Reason::tls_handshake: return "tls_handshake";
    case Reason::tls_alert: return "tls_alert";
    case Reason::tls_record: return "tls_record";
    case Reason::tls_identity: return "tls_identity";
    case Reason::no_certificate: return "no_certificate";
    case Reason::certificate_expired: return "certificate_expired";
    case Reason::roots_changed: return "roots_changed";
    case Reason::h2_protocol: return "h2_protocol";
    case Reason::h2_flood: return "h2_flood";
    case Reason::h2_going_away: return "h2_going_away";
    case Reason::connect_rejected: return "connect_rejected";
    case Reason::connect_reply_timed_out: return "connect_reply_timed_out";
    case Reason::loop_to_ourselves: return "loop_to_ourselves";
    case Reason::source_unknown: return "source_unknown";
    case Reason::destination_unknown: return "destination_unknown";
    case Reason::no_healthy_upstream: return "no_healthy_upstream";
    case Reason::no_port_mapping: return "no_port_mapping";
    case Reason::no_address_of_family: return "no_address_of_family";
    case Reason::waypoint_unsupported: return "waypoint_unsupported";
    case Reason::gateway_unsupported: return "gateway_unsupported";
    case Reason::double_tunnel_unsupported: return "double_tunnel_unsupported";
    case Reason::application_tunnel_unsupported: return "application_tunnel_unsupported";
    case Reason::no_original_destination: return "no_original_destination";
    case Reason::downgrade_refused: return "downgrade_refused";
    case Reason::bad_request: return "bad_request";
    case Reason::authority_not_ours: return "authority_not_ours";
    case Reason::service_not_ours: return "service_not_ours";
    case Reason::policy_denied: return "policy_denied";
    case Reason::policy_unknown: return "policy_unknown";
    case Reason::policy_changed: return "policy_changed";
    case Reason::client_not_bound: return "client_not_bound";
    case Reason::truncated: return "truncated";
    case Reason::draining: return "draining";
    case Reason::pod_removed: return "pod_removed";
    case Reason::xds_rejected: return "xds_rejected";
    case Reason::ca_rejected: return "ca_rejected";
    case Reason::token_rejected: return "token_rejected";
    case Reason::not_synced: return "not_synced";
    case Reason::last_: break;
    }
    return "unknown";
}

std::string_view response_flag(Reason reason) {
    switch (reason) {
    case Reason::none:
    case Reason::draining: return "-";
    case Reason::policy_denied:
    case Reason::policy_unknown:
    case Reason::policy_changed: return "DENY";
    case Reason::tls_handshake:
    case Reason::tls_alert:
    case Reason::tls_record:
    case Reason::certificate_expired: return "TLS_FAILURE";
    case Reason::tls_identity:
    case Reason::no_certificate: return "IDENTITY_ERROR";
    case Reason::h2_protocol:
    case Reason::h2_flood: return "H2_HANDSHAKE_FAILURE";
    case Reason::connect_timed_out: return "NETWORK_POLICY";  // H-42
    default: return "CONNECT";                                // M-3: everything unclassified
    }
}

std::string Error::to_string() const {
    std::string out(word(reason));
    if (detail != 0) out += " (" + std::to_string(detail) + ")";
    if (!text.empty()) out += ": " + text;
    return out;
}

}  // namespace culvert
