// A private key (ECDSA P-256 when we make it) and the certificate signing request made with it (wire fact
// CA-3). Keys are made by OpenSSL's generator, live in OpenSSL's memory and are zeroed there when the last
// owner goes.
#pragma once
#include "lib/base/result.h"
#include "lib/mesh/identity.h"
#include "lib/tls/secret.h"

#include <memory>
#include <string>
#include <string_view>

struct evp_pkey_st;

namespace culvert::tls {

class PrivateKey {
public:
    static Result<PrivateKey> generate();                      // P-256
    static Result<PrivateKey> from_pem(std::string_view pem);  // PKCS#8, SEC 1 or PKCS#1, not encrypted

    SecretText to_pem() const;  // PKCS#8

    evp_pkey_st* get() const { return key_.get(); }  // for the rest of lib/tls

private:
    struct Free {
        void operator()(evp_pkey_st* key) const;
    };
    explicit PrivateKey(evp_pkey_st* key) : key_(key) {}
    std::unique_ptr<evp_pkey_st, Free> key_;
    friend class Credential;
};

// CA-3: empty subject, one critical URI SAN, SHA-256, nothing else. PEM.
Result<std::string> make_csr(const PrivateKey& key, const mesh::Identity& identity);

}  // namespace culvert::tls
