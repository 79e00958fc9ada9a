#include "test/support/pki.h"

#include "lib/base/check.h"
#include "lib/tls/x509.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

namespace culvert::test {
using tls::CsrPtr;
using tls::PkeyPtr;
using tls::X509Ptr;

struct Ca::Parts {
    PkeyPtr key;
    X509Ptr certificate;
    std::vector<std::string> above;  // PEM of the CAs up to the root, empty for a root
};

namespace {

PkeyPtr parse_key(const std::string& pem) {
    const auto in = tls::read_only(pem);
    return PkeyPtr(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
}

std::string key_text(EVP_PKEY* key) {
    const tls::BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return tls::text_of(out.get());
}

void set_time(ASN1_TIME* to, WallTime at) {
    check(ASN1_TIME_set(to, std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count()) !=
          nullptr);
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    check(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

X509Ptr blank(EVP_PKEY* key, const std::string& name, WallTime not_before, WallTime not_after) {
    X509Ptr out(X509_new());
    X509_set_version(out.get(), X509_VERSION_3);
    std::uint64_t serial = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&serial), 7);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), serial);
    if (!name.empty()) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "O", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    }
    set_time(X509_getm_notBefore(out.get()), not_before);
    set_time(X509_getm_notAfter(out.get()), not_after);
    X509_set_pubkey(out.get(), key);
    return out;
}

X509Ptr ca_certificate(EVP_PKEY* key, const std::string& name, WallTime not_before, WallTime not_after,
                       X509* issuer, EVP_PKEY* signer) {
    X509Ptr out = blank(key, name, not_before, not_after);
    X509* above = issuer != nullptr ? issuer : out.get();
    X509_set_issuer_name(out.get(), X509_get_subject_name(above));
    extend(out.get(), above, NID_basic_constraints, "critical,CA:TRUE");
    extend(out.get(), above, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(out.get(), above, NID_subject_key_identifier, "hash");
    X509_sign(out.get(), signer, EVP_sha256());
    return out;
}

}  // namespace

Ca::Ca(const std::string& name, WallTime not_before, WallTime not_after) : parts_(std::make_unique<Parts>()) {
    parts_->key.reset(EVP_EC_gen("P-256"));
    parts_->certificate =
        ca_certificate(parts_->key.get(), name, not_before, not_after, nullptr, parts_->key.get());
}
Ca::Ca(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Ca::Ca(Ca&&) noexcept = default;
Ca::~Ca() = default;

Ca Ca::intermediate(const std::string& name) const {
    auto parts = std::make_unique<Parts>();
    parts->key.reset(EVP_EC_gen("P-256"));
    parts->certificate =
        ca_certificate(parts->key.get(), name, tls::to_wall(X509_get0_notBefore(parts_->certificate.get())),
                       tls::to_wall(X509_get0_notAfter(parts_->certificate.get())), parts_->certificate.get(),
                       parts_->key.get());
    parts->above = parts_->above;
    parts->above.insert(parts->above.begin(), own());
    return Ca(std::move(parts));
}

std::string Ca::own() const { return tls::to_pem(parts_->certificate.get()); }
std::string Ca::root() const { return parts_->above.empty() ? own() : parts_->above.back(); }

Ca::Issued Ca::issue(const Leaf& leaf) const {
    const PkeyPtr key = leaf.key_pem.empty() ? PkeyPtr(EVP_EC_gen("P-256")) : parse_key(leaf.key_pem);
    const X509Ptr out = blank(key.get(), "", leaf.not_before, leaf.not_after);
    X509_set_issuer_name(out.get(), X509_get_subject_name(parts_->certificate.get()));
    std::string names;
    for (const std::string& uri : leaf.uris) names += (names.empty() ? "" : ",") + ("URI:" + uri);
    for (const std::string& dns : leaf.dns) names += (names.empty() ? "" : ",") + ("DNS:" + dns);
    X509* issuer = parts_->certificate.get();
    if (!names.empty()) extend(out.get(), issuer, NID_subject_alt_name, "critical," + names);
    if (!leaf.purposes.empty()) extend(out.get(), issuer, NID_ext_key_usage, leaf.purposes);
    extend(out.get(), issuer, NID_key_usage, "critical,digitalSignature");
    X509_sign(out.get(), parts_->key.get(), leaf.sha1 ? EVP_sha1() : EVP_sha256());
    std::string chain = tls::to_pem(out.get());
    if (!parts_->above.empty()) chain += own();
    return {key_text(key.get()), chain};
}

std::string Ca::sign_csr(const std::string& csr) const {
    const auto in = tls::read_only(csr);
    const CsrPtr request(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
    check(request != nullptr);
    const X509Ptr out = blank(X509_REQ_get0_pubkey(request.get()), "", test_now - 1h, test_now + 24h);
    X509_set_issuer_name(out.get(), X509_get_subject_name(parts_->certificate.get()));
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); ++i) {
        X509_add_ext(out.get(), sk_X509_EXTENSION_value(extensions, i), -1);
    }
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_sign(out.get(), parts_->key.get(), EVP_sha256());
    return tls::to_pem(out.get());
}

std::shared_ptr<const tls::Credential> Ca::credential(const std::string& spiffe,
                                                      const tls::Profile& profile) const {
    Leaf leaf;
    leaf.uris = {spiffe};
    const Issued issued = issue(leaf);
    auto made = tls::Credential::from_pem(issued.key, issued.chain, root(), test_now, profile);
    if (!made) bug(made.error().to_string().c_str());
    return *made;
}

}  // namespace culvert::test
