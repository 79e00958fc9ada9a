// Why something was refused or ended: one closed list for the whole mesh (decisions: every refusal has a
// reason word). The word is the label of the refusal counter, the `reason` of the access log and what
// `culvert status` prints; `culvert why` will be built from it. Each reason also has Istio's response flag
// (wire fact M-3), so that dashboards keep working.
#pragma once
#include <cstdint>
#include <string_view>

namespace culvert {

enum class Reason : std::uint8_t {
    none,
    internal,  // a bug that was survivable: always worth a report
    // what the operating system said
    io,
    cancelled,
    timed_out,
    connect_refused,
    connect_timed_out,
    unreachable,
    reset,
    closed,
    no_buffers,
    limit,  // one of docs/limits.md was reached
    // configuration and input
    bad_input,
    bad_configuration,
    missing_feature,  // of the kernel or of this build; the text names it
    permission,
    unsupported,  // known, and not carried by this version
    // TLS and HTTP/2
    tls_handshake,
    tls_alert,
    tls_record,
    tls_identity,  // the peer proved an identity, but not one we accept
    no_certificate,
    certificate_expired,
    roots_changed,  // a link made under roots that are no longer ours (S16)
    h2_protocol,
    h2_flood,
    h2_going_away,
    connect_rejected,  // CONNECT answered with another status than 200; detail is the status
    connect_reply_timed_out,
    // decisions about outbound traffic (wire facts O-)
    loop_to_ourselves,
    source_unknown,
    destination_unknown,
    no_healthy_upstream,
    no_port_mapping,
    no_address_of_family,
    waypoint_unsupported,
    gateway_unsupported,
    double_tunnel_unsupported,
    application_tunnel_unsupported,
    no_original_destination,
    downgrade_refused,  // was HBONE, and nothing newer says otherwise
    // decisions about inbound traffic (wire facts I-, R-)
    bad_request,
    authority_not_ours,
    service_not_ours,  // by hostname: this pod is no endpoint of it (S15)
    policy_denied,     // a DENY policy matched, or ALLOW policies exist and none did
    policy_unknown,    // a referenced policy has not arrived: fail closed
    policy_changed,    // an established connection is no longer allowed
    client_not_bound,  // the kernel did not confirm the real client at the app's socket
    truncated,         // the other end went away before the stream's clean end
    draining,
    pod_removed,
    // control plane
    xds_rejected,
    ca_rejected,
    token_rejected,
    not_synced,
    last_,
};

std::string_view word(Reason reason);
// M-3: "-", "DENY", "CONNECT", "TLS_FAILURE", "H2_HANDSHAKE_FAILURE", "NETWORK_POLICY", "IDENTITY_ERROR",
// "CERT_REVOKED".
std::string_view response_flag(Reason reason);

}  // namespace culvert
