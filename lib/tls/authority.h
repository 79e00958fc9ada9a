// The mesh's own certificate authority, for the controller: a self-signed root in a state directory that
// survives restarts, signing of workload certificates (wire facts CA-3 to CA-6, from the CA's side) and of
// the controller's serving certificate. Which caller may have which identity is the caller's decision, not
// made here.
//
// One per controller. sign() and serving() are const and safe from several threads; open() does blocking file
// I/O. State: DIRECTORY (0700) with root-key.pem (0600) and root-cert.pem, written whole (fsync, rename).
#pragma once
#include "lib/tls/certificate.h"
#include "lib/tls/key.h"

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace culvert::tls {

constexpr std::chrono::seconds leaf_ttl_default = std::chrono::hours(24);   // CA-6: asked for 0 or less
constexpr std::chrono::seconds leaf_ttl_max = std::chrono::hours(24 * 90);  // CA-6
constexpr std::chrono::seconds root_ttl = std::chrono::hours(24 * 3650);
constexpr std::chrono::seconds backdating = std::chrono::minutes(2);  // clocks of nodes may be behind
constexpr std::size_t csr_max = 16 * 1024;                            // PEM bytes; one of ours is 450

// A request to sign, checked: its signature holds (its sender has the key) and it has exactly one URI SAN, a
// SPIFFE id of the mesh. Refuses with bad_input or tls_identity.
class Csr {
public:
    static Result<Csr> parse(std::string_view pem);
    const mesh::Identity& identity() const { return identity_; }

private:
    friend class Authority;
    struct Free {
        void operator()(evp_pkey_st* key) const;
    };
    mesh::Identity identity_;
    std::unique_ptr<evp_pkey_st, Free> public_key_;
};

class Authority {
public:
    // Loads the root from `directory`, or makes one there ("O=`trust_domain`") when the directory holds none.
    // Refuses, naming the file and the fix, what others can read, what does not parse, a key without its
    // certificate.
    static Result<Authority> open(const std::string& directory, std::string_view trust_domain, WallTime now);

    struct Signed {
        std::vector<std::string> chain;  // as CA-4 wants it: leaf, then roots
        std::string serial;              // decimal
        WallTime not_after{};
    };
    // `ttl`: at most leaf_ttl_max, and never beyond the root's end.
    Result<Signed> sign(const Csr& csr, std::chrono::seconds ttl, WallTime now) const;

    // For the controller's own gRPC server: names are DNS names and IP addresses.
    struct Serving {
        SecretText key;     // PEM
        std::string chain;  // PEM: leaf
        WallTime not_after{};
    };
    Result<Serving> serving(std::span<const std::string> names, std::chrono::seconds ttl, WallTime now) const;

    const CertificateInfo& root() const { return root_; }

    Authority(Authority&&) noexcept;
    Authority& operator=(Authority&&) noexcept;
    ~Authority();

private:
    struct Keys;
    Authority(std::unique_ptr<Keys> keys, CertificateInfo root);
    std::unique_ptr<Keys> keys_;
    CertificateInfo root_;
};

}  // namespace culvert::tls
