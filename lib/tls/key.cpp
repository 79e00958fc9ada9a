#include "lib/tls/key.h"

#include "lib/base/check.h"
#include "lib/tls/x509.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

namespace culvert::tls {

void PrivateKey::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<PrivateKey> PrivateKey::generate() {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    if (key == nullptr) return refuse(Reason::internal, "no key could be made: " + openssl_error());
    return PrivateKey(key);
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
    if (pem.size() > pem_max) return refuse(Reason::limit, "private key too long");
    const BioPtr in = read_only(pem);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr);
    if (key == nullptr) return refuse(Reason::bad_input, "private key does not parse: " + openssl_error());
    return PrivateKey(key);
}

SecretText PrivateKey::to_pem() const {
    const BioPtr out(BIO_new(BIO_s_mem()));  // zeroed when freed
    check(PEM_write_bio_PKCS8PrivateKey(out.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
    return SecretText(text_of(out.get()));
}

Result<std::string> make_csr(const PrivateKey& key, const mesh::Identity& identity) {
    using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
    using ExtensionsPtr = std::unique_ptr<X509_EXTENSIONS, decltype([](X509_EXTENSIONS* s) {
                                              sk_X509_EXTENSION_pop_free(s, X509_EXTENSION_free);
                                          })>;

    const NamesPtr names(GENERAL_NAMES_new());
    add_uri(names.get(), identity.to_string());
    const CsrPtr csr(X509_REQ_new());
    const ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
    ExtensionPtr san(X509V3_EXT_i2d(NID_subject_alt_name, 1, names.get()));
    check(sk_X509_EXTENSION_push(extensions.get(), san.release()) > 0);
    const bool made = X509_REQ_set_version(csr.get(), X509_REQ_VERSION_1) == 1 &&
                      X509_REQ_set_pubkey(csr.get(), key.get()) == 1 &&
                      X509_REQ_add_extensions(csr.get(), extensions.get()) == 1 &&
                      X509_REQ_sign(csr.get(), key.get(), EVP_sha256()) > 0;
    if (!made) return refuse(Reason::internal, "CSR not made: " + openssl_error());
    const BioPtr out(BIO_new(BIO_s_mem()));
    check(PEM_write_bio_X509_REQ(out.get(), csr.get()) == 1);
    return text_of(out.get());
}

}  // namespace culvert::tls
