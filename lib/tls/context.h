// The OpenSSL context that all handshakes of one Credential share, in both roles. What does not depend on a
// peer is set here once, so that a handshake parses and builds nothing: wire facts H-2, H-3, H-5 to H-9.
#pragma once
#include "lib/tls/credentials.h"
#include "lib/tls/x509.h"

namespace culvert::tls {

struct ContextParts {
    EVP_PKEY* key;
    std::span<const X509Ptr> chain;  // leaf first
    std::span<const X509Ptr> roots;
};
Result<ContextPtr> make_context(const ContextParts& parts, const Profile& profile);

// Roots as a store that only trusts them; no CRLs, no files.
StorePtr make_store(std::span<const X509Ptr> roots);

constexpr int chain_depth_max = 8;  // intermediates between a leaf and a root

// handshake.cpp: called by OpenSSL for each secret and each peer's certificate.
void on_secret(const SSL* ssl, const char* line);
int on_certificate(X509_STORE_CTX* chain, void*);

}  // namespace culvert::tls
