// Certificates for tests, good and bad ones: a CA in memory that signs whatever it is told to, also what no
// CA should. Keys are fresh at each run; times are the caller's.
#pragma once
#include "lib/tls/credentials.h"

#include <memory>
#include <string>
#include <vector>

namespace culvert::test {

using namespace std::chrono_literals;

// The moment at which tests happen: 2026-03-01T12:00:00Z.
inline constexpr WallTime test_now{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1} + 12h};

struct Leaf {
    std::vector<std::string> uris;
    std::vector<std::string> dns;
    WallTime not_before = test_now - 1h;
    WallTime not_after = test_now + 24h;
    std::string purposes = "serverAuth,clientAuth";  // extended key usage; empty: none
    bool sha1 = false;
    std::string key_pem;  // empty: a fresh P-256 key
};

class Ca {
public:
    explicit Ca(const std::string& name = "test root", WallTime not_before = test_now - 24h,
                WallTime not_after = test_now + 24h * 365);
    ~Ca();
    Ca(Ca&&) noexcept;

    Ca intermediate(const std::string& name) const;

    struct Issued {
        std::string key;    // PEM
        std::string chain;  // PEM: leaf, and the intermediate CA when this is one
    };
    Issued issue(const Leaf& leaf) const;
    std::string sign_csr(const std::string& csr) const;  // a leaf with the CSR's names, as istiod would
    std::string root() const;                            // PEM of the root at the top
    std::string own() const;                             // PEM of this CA's certificate

    // The usual: one SPIFFE id, chain to this CA's root. Stops the test when it cannot be made.
    std::shared_ptr<const tls::Credential> credential(const std::string& spiffe,
                                                      const tls::Profile& profile = {}) const;

private:
    struct Parts;
    explicit Ca(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace culvert::test
