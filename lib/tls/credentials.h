// Who we are towards peers: a workload's certificate, its chain, its key and the roots that its peers must
// chain to. Parsed once into OpenSSL contexts that all handshakes with it share (H-9, H-13, H-14); immutable,
// so published as shared_ptr<const Credential> and used by every loop. A renewed certificate is a new
// Credential; links made with the old one keep it alive and end at its not_after.
//
// Refusals: bad_input (does not parse, key and certificate do not match, limits of docs/limits.md),
// no_certificate (no root), tls_identity (not exactly one SPIFFE id, or not the one asked for),
// certificate_expired.
#pragma once
#include "lib/tls/certificate.h"
#include "lib/tls/key.h"

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct ssl_ctx_st;

namespace culvert::tls {

// What handshakes offer. The default is wire fact H-3's; benches pin suite and groups on all sides (decision
// 25).
struct Profile {
    bool aes_128_only = false;  // else AES-256-GCM, then AES-128-GCM
    std::string groups = "X25519:P-256:P-384";
};

class Credential {
public:
    // From files or tests: `chain` is the leaf followed by intermediates, `roots` one certificate or more,
    // all PEM.
    static Result<std::shared_ptr<const Credential>> from_pem(std::string_view key, std::string_view chain,
                                                              std::string_view roots, WallTime now,
                                                              const Profile& profile = {});
    // From the answer of a CA to the CSR made with `key` (CA-4): leaf, intermediates, and roots as the last
    // element, one of which suffices. The leaf must be for `asked` (CA-5) and for this key.
    static Result<std::shared_ptr<const Credential>> from_response(PrivateKey key,
                                                                   std::span<const std::string> chain,
                                                                   const mesh::Identity& asked, WallTime now,
                                                                   const Profile& profile = {});
    // Without key and certificates: for worlds whose handshake is simulated (decision 23).
    static std::shared_ptr<const Credential> given(mesh::Identity identity, WallTime not_before,
                                                   WallTime not_after);

    ~Credential();
    Credential(const Credential&) = delete;

    const mesh::Identity& identity() const { return identity_; }
    WallTime not_before() const { return not_before_; }
    WallTime not_after() const { return not_after_; }
    WallTime refresh_at() const { return not_before_ + (not_after_ - not_before_) / 2; }  // CA-9

    const std::vector<CertificateInfo>& chain() const { return chain_; }  // leaf first
    const std::vector<CertificateInfo>& roots() const { return roots_; }
    // Over the set of roots, in any order; a change ends links (S16).
    const std::array<std::byte, 32>& roots_digest() const { return roots_digest_; }

    ssl_ctx_st* context() const {
        return context_.get();
    }  // of both roles, for handshake.cpp; null when given()

private:
    struct Free {
        void operator()(ssl_ctx_st* context) const;
    };
    struct Parsed;
    Credential() = default;
    static Result<std::shared_ptr<const Credential>> make(Parsed parsed, WallTime now,
                                                          const Profile& profile);

    mesh::Identity identity_;
    WallTime not_before_{};
    WallTime not_after_{};
    std::vector<CertificateInfo> chain_;
    std::vector<CertificateInfo> roots_;
    std::array<std::byte, 32> roots_digest_{};
    std::unique_ptr<ssl_ctx_st, Free> context_;
};

}  // namespace culvert::tls
