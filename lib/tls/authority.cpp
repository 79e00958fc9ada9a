#include "lib/tls/authority.h"

#include "lib/base/check.h"
#include "lib/base/ip.h"
#include "lib/tls/state_directory.h"
#include "lib/tls/x509.h"

#include <algorithm>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

namespace culvert::tls {
namespace {

constexpr auto key_file = "root-key.pem";
constexpr auto certificate_file = "root-cert.pem";

// Constant text in the syntax of OpenSSL's configuration; names never come this way.
bool extend(X509* certificate, X509* issuer, int nid, const char* constant) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, constant));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_time(ASN1_TIME* to, WallTime at) {
    return ASN1_TIME_set(to, std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count()) !=
           nullptr;
}

// 127 random bits: positive, never zero in practice, unique without a counter to keep (RFC 5280 4.1.2.2).
bool set_serial(X509* certificate) {
    std::array<unsigned char, 16> bytes{};
    if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
    bytes[0] &= 0x7f;
    using BignumPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
    const BignumPtr number(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
    return BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

// Everything but names, purposes and the signature.
X509Ptr begin(EVP_PKEY* public_key, const X509_NAME* issuer, WallTime not_before, WallTime not_after) {
    X509Ptr out(X509_new());
    const bool good = X509_set_version(out.get(), X509_VERSION_3) == 1 && set_serial(out.get()) &&
                      set_time(X509_getm_notBefore(out.get()), not_before) &&
                      set_time(X509_getm_notAfter(out.get()), not_after) &&
                      X509_set_pubkey(out.get(), public_key) == 1 &&
                      (issuer == nullptr || X509_set_issuer_name(out.get(), issuer) == 1);
    return good ? std::move(out) : nullptr;
}

Result<X509Ptr> make_root(EVP_PKEY* key, std::string_view trust_domain, WallTime now) {
    X509Ptr root = begin(key, nullptr, now - backdating, now + root_ttl);
    if (!root) return refuse(Reason::internal, "no root certificate: " + openssl_error());
    X509_NAME* name = X509_get_subject_name(root.get());
    const bool made = X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                                 reinterpret_cast<const unsigned char*>(trust_domain.data()),
                                                 static_cast<int>(trust_domain.size()), -1, 0) == 1 &&
                      X509_set_issuer_name(root.get(), name) == 1 &&
                      extend(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE") &&
                      extend(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign") &&
                      extend(root.get(), root.get(), NID_subject_key_identifier, "hash") &&
                      X509_sign(root.get(), key, EVP_sha256()) > 0;
    if (!made) {
        return refuse(Reason::bad_configuration, fmt::format("no root certificate for trust domain '{}': {}",
                                                             trust_domain, openssl_error()));
    }
    return root;
}

Result<X509Ptr> check_root(const std::string& pem, const std::string& path, EVP_PKEY* key, WallTime now) {
    auto parsed = parse_certificates(pem, false);
    if (!parsed || parsed->size() != 1) {
        return refuse(Reason::bad_configuration,
                      path + " is not one PEM certificate: restore it from a backup");
    }
    X509Ptr root = std::move(parsed->front());
    if (X509_check_private_key(root.get(), key) != 1) {
        (void)openssl_error();
        return refuse(Reason::bad_configuration,
                      path + " is not the certificate of the key beside it: restore both");
    }
    if (X509_check_ca(root.get()) != 1 || X509_verify(root.get(), key) != 1) {
        (void)openssl_error();
        return refuse(Reason::bad_configuration, path + " is not a self-signed CA certificate");
    }
    const WallTime end = to_wall(X509_get0_notAfter(root.get()));
    if (end <= now) {
        return refuse(Reason::certificate_expired,
                      fmt::format("{} ended at {}: move the state directory away to begin a new mesh", path,
                                  to_rfc3339(end)));
    }
    return root;
}

// A leaf with these names; its end is the shorter of `ttl` and the root's.
Result<X509Ptr> make_leaf(X509* root, EVP_PKEY* signer, EVP_PKEY* public_key, const GENERAL_NAMES* names,
                          const char* purposes, std::chrono::seconds ttl, WallTime now) {
    if (ttl <= ttl.zero()) ttl = leaf_ttl_default;
    const WallTime end = std::min(now + std::min(ttl, leaf_ttl_max), to_wall(X509_get0_notAfter(root)));
    if (end <= now) return refuse(Reason::certificate_expired, "the root certificate has ended");
    const WallTime start = std::max(now - backdating, to_wall(X509_get0_notBefore(root)));
    X509Ptr leaf = begin(public_key, X509_get_subject_name(root), start, end);
    const bool made = leaf && extend(leaf.get(), root, NID_key_usage, "critical,digitalSignature") &&
                      extend(leaf.get(), root, NID_ext_key_usage, purposes) &&
                      extend(leaf.get(), root, NID_basic_constraints, "critical,CA:FALSE") &&
                      extend(leaf.get(), root, NID_authority_key_identifier, "keyid:always") &&
                      // Critical, because the subject is empty (RFC 5280 4.2.1.6).
                      X509_add1_ext_i2d(leaf.get(), NID_subject_alt_name, const_cast<GENERAL_NAMES*>(names),
                                        1, X509V3_ADD_DEFAULT) == 1 &&
                      X509_sign(leaf.get(), signer, EVP_sha256()) > 0;
    if (!made) return refuse(Reason::internal, "certificate not made: " + openssl_error());
    return leaf;
}

// RFC 1123 names, a wildcard as the first label allowed: what a client may be told to expect.
bool is_dns_name(std::string_view name) {
    if (name.starts_with("*.")) name.remove_prefix(2);
    const bool letters = std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '.';
    });
    return !name.empty() && name.size() <= 253 && letters && name.front() != '.' &&
           name.find("..") == name.npos;
}

}  // namespace

// ---- requests ---------------------------------------------------------------------------------------------

void Csr::Free::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

Result<Csr> Csr::parse(std::string_view pem) {
    if (pem.size() > csr_max) return refuse(Reason::limit, fmt::format("CSR of {} bytes", pem.size()));
    const BioPtr in = read_only(pem);
    const CsrPtr csr(PEM_read_bio_X509_REQ(in.get(), nullptr, no_password, nullptr));
    if (!csr) return refuse(Reason::bad_input, "CSR does not parse: " + openssl_error());
    std::unique_ptr<EVP_PKEY, Free> key(X509_REQ_get_pubkey(csr.get()));
    if (!key) return refuse(Reason::bad_input, "the CSR's key does not parse: " + openssl_error());
    if (EVP_PKEY_get_security_bits(key.get()) < 112)
        return refuse(Reason::bad_input, "the CSR's key is too weak");
    if (X509_REQ_verify(csr.get(), key.get()) != 1) {
        return refuse(Reason::bad_input, "the CSR is not signed by its key: " + openssl_error());
    }
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(csr.get());
    int critical = 0;
    const NamesPtr names(
        static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, &critical, nullptr)));
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    (void)openssl_error();
    if (!names) return refuse(Reason::tls_identity, "the CSR asks for no identity");
    TRY(mesh::Identity identity, only_identity(names.get()));
    Csr out;
    out.identity_ = std::move(identity);
    out.public_key_ = std::move(key);
    return out;
}

// ---- the authority ----------------------------------------------------------------------------------------

struct Authority::Keys {
    PrivateKey key;
    X509Ptr root;
};

Authority::Authority(std::unique_ptr<Keys> keys, CertificateInfo root)
    : keys_(std::move(keys)), root_(std::move(root)) {}
Authority::Authority(Authority&&) noexcept = default;
Authority& Authority::operator=(Authority&&) noexcept = default;
Authority::~Authority() = default;

Result<Authority> Authority::open(const std::string& directory, std::string_view trust_domain, WallTime now) {
    TRY(StateDirectory state, StateDirectory::open(directory));
    TRY(std::optional<SecretText> key_text, state.read(key_file, true));
    TRY(std::optional<SecretText> root_text, state.read(certificate_file, false));
    if (!key_text && root_text) {
        return refuse(
            Reason::bad_configuration,
            fmt::format(
                "{} is missing beside {}: restore it from a backup, or remove both to begin a new mesh",
                state.path_of(key_file), state.path_of(certificate_file)));
    }
    auto key = key_text ? PrivateKey::from_pem(key_text->reveal()) : PrivateKey::generate();
    if (!key) {
        return refuse(Reason::bad_configuration, state.path_of(key_file) + ": " + key.error().text);
    }
    if (!key_text) {
        TRY_DONE(state.write(key_file, key->to_pem().reveal(), true));
    }
    // A key alone is what a crash between the two writes leaves: nothing was signed with it yet, or with the
    // same name.
    auto root = root_text ? check_root(std::string(root_text->reveal()), state.path_of(certificate_file),
                                       key->get(), now)
                          : make_root(key->get(), trust_domain, now);
    if (!root) return std::unexpected(root.error());
    CertificateInfo info = describe(root->get());
    if (!root_text) {
        TRY_DONE(state.write(certificate_file, info.pem, false));
    }
    return Authority(std::make_unique<Keys>(*std::move(key), *std::move(root)), std::move(info));
}

Result<Authority::Signed> Authority::sign(const Csr& csr, std::chrono::seconds ttl, WallTime now) const {
    const NamesPtr names(GENERAL_NAMES_new());
    add_uri(names.get(), csr.identity().to_string());
    TRY(X509Ptr leaf, make_leaf(keys_->root.get(), keys_->key.get(), csr.public_key_.get(), names.get(),
                                "serverAuth,clientAuth", ttl, now));
    CertificateInfo info = describe(leaf.get());
    return Signed{{std::move(info.pem), root_.pem}, std::move(info.serial), info.not_after};
}

Result<Authority::Serving> Authority::serving(std::span<const std::string> names, std::chrono::seconds ttl,
                                              WallTime now) const {
    const NamesPtr alternative(GENERAL_NAMES_new());
    for (const std::string& name : names) {
        if (const auto ip = Ip::parse(name)) {
            add_ip(alternative.get(), ip->wire());
        } else if (is_dns_name(name)) {
            add_dns(alternative.get(), name);
        } else {
            return refuse(Reason::bad_configuration,
                          "'" + name + "' is neither a DNS name nor an IP address");
        }
    }
    if (names.empty()) return refuse(Reason::bad_configuration, "a serving certificate without names");
    TRY(PrivateKey key, PrivateKey::generate());
    TRY(X509Ptr leaf,
        make_leaf(keys_->root.get(), keys_->key.get(), key.get(), alternative.get(), "serverAuth", ttl, now));
    CertificateInfo info = describe(leaf.get());
    return Serving{key.to_pem(), std::move(info.pem), info.not_after};
}

}  // namespace culvert::tls
