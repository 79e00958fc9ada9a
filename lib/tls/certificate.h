// What is read from X.509 certificates, as values. Pure; used by credentials, the handshake, the authority
// and by /config_dump. Certificates of peers come in through the handshake only, after their chain has been
// verified.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/mesh/identity.h"

#include <string>
#include <string_view>
#include <vector>

namespace culvert::tls {

// One certificate for people and for /config_dump (wire fact A-5).
struct CertificateInfo {
    std::string pem;
    std::string serial;  // decimal
    WallTime not_before{};
    WallTime not_after{};
    bool operator==(const CertificateInfo&) const = default;
};

// Whom the other side of a link proved to be. Travels with the link's value (S23); the link ends at not_after
// (S16).
struct PeerIdentity {
    mesh::Identity identity;
    std::string serial;  // decimal
    WallTime not_after{};
    bool operator==(const PeerIdentity&) const = default;

    void save(Encoder& to) const;
    static Result<PeerIdentity> load(Decoder& from);  // refuses with bad_input
};

// "2026-08-20T10:00:00Z": RFC 3339 as A-5 wants it.
std::string to_rfc3339(WallTime at);

}  // namespace culvert::tls
