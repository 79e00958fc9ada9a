#include "lib/tls/credentials.h"

#include "lib/tls/context.h"

#include <algorithm>
#include <fmt/format.h>

namespace culvert::tls {
namespace {

using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
using Digest = std::array<std::byte, 32>;

// A CA that answers with a chain nobody can verify is found out here, not at the first peer.
Result<Done> check_chain(std::span<const X509Ptr> chain, std::span<const X509Ptr> roots, WallTime now) {
    const StorePtr store = make_store(roots);
    const StoreContextPtr context(X509_STORE_CTX_new());
    STACK_OF(X509)* untrusted = sk_X509_new_null();
    for (const X509Ptr& certificate : chain.subspan(1)) sk_X509_push(untrusted, certificate.get());
    X509_STORE_CTX_init(context.get(), store.get(), chain[0].get(), untrusted);
    X509_VERIFY_PARAM_set_time(
        X509_STORE_CTX_get0_param(context.get()),
        std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::system_clock::duration>(now)));
    const bool good = X509_verify_cert(context.get()) == 1;
    const int error = X509_STORE_CTX_get_error(context.get());
    sk_X509_free(untrusted);
    (void)openssl_error();
    if (good) return Done{};
    const bool time = error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
    return refuse(time ? Reason::certificate_expired : Reason::bad_input,
                  fmt::format("the certificate does not verify against its roots: {}",
                              X509_verify_cert_error_string(error)));
}

Digest digest_of(std::span<const X509Ptr> roots) {
    std::vector<Digest> each(roots.size());
    for (std::size_t i = 0; i < roots.size(); ++i)
        X509_digest(roots[i].get(), EVP_sha256(), raw(each[i].data()), nullptr);
    std::ranges::sort(each);
    each.erase(std::unique(each.begin(), each.end()), each.end());
    Digest out{};
    EVP_Digest(each.data(), each.size() * sizeof(Digest), raw(out.data()), nullptr, EVP_sha256(), nullptr);
    return out;
}

std::vector<CertificateInfo> describe_all(std::span<const X509Ptr> certificates) {
    std::vector<CertificateInfo> out;
    for (const X509Ptr& certificate : certificates) out.push_back(describe(certificate.get()));
    return out;
}

}  // namespace

struct Credential::Parsed {
    PrivateKey key;
    std::vector<X509Ptr> chain;
    std::vector<X509Ptr> roots;
};

void Credential::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
Credential::~Credential() = default;

Result<std::shared_ptr<const Credential>> Credential::make(Parsed parsed, WallTime now,
                                                           const Profile& profile) {
    if (parsed.chain.empty()) return refuse(Reason::bad_input, "no certificate");
    if (parsed.chain.size() > chain_depth_max + 1) return refuse(Reason::limit, "certificate chain too long");
    if (parsed.roots.empty()) return refuse(Reason::no_certificate, "no root certificate that parses");
    TRY(mesh::Identity identity, only_identity(parsed.chain[0].get()));
    TRY(ContextPtr context, make_context({parsed.key.get(), parsed.chain, parsed.roots}, profile));
    TRY_DONE(check_chain(parsed.chain, parsed.roots, now));

    std::shared_ptr<Credential> made(new Credential);
    made->identity_ = std::move(identity);
    made->chain_ = describe_all(parsed.chain);
    made->roots_ = describe_all(parsed.roots);
    made->not_before_ = made->chain_[0].not_before;
    made->not_after_ = made->chain_[0].not_after;
    made->roots_digest_ = digest_of(parsed.roots);
    made->context_.reset(context.release());
    return std::shared_ptr<const Credential>(std::move(made));
}

Result<std::shared_ptr<const Credential>> Credential::from_pem(std::string_view key, std::string_view chain,
                                                               std::string_view roots, WallTime now,
                                                               const Profile& profile) {
    TRY(PrivateKey private_key, PrivateKey::from_pem(key));
    TRY(std::vector<X509Ptr> certificates, parse_certificates(chain, false));
    TRY(std::vector<X509Ptr> anchors, parse_certificates(roots, true));
    return make({std::move(private_key), std::move(certificates), std::move(anchors)}, now, profile);
}

Result<std::shared_ptr<const Credential>> Credential::from_response(PrivateKey key,
                                                                    std::span<const std::string> chain,
                                                                    const mesh::Identity& asked, WallTime now,
                                                                    const Profile& profile) {
    if (chain.size() < 2) return refuse(Reason::no_certificate, "the CA sent no root");
    std::string text;
    for (const std::string& element : chain.first(chain.size() - 1)) {
        if (text.size() + element.size() > pem_max)
            return refuse(Reason::limit, "the CA's answer is too long");
        text += element;
        text += '\n';
    }
    TRY(std::vector<X509Ptr> certificates, parse_certificates(text, false));
    TRY(std::vector<X509Ptr> anchors, parse_certificates(chain.back(), true));
    TRY(auto made, make({std::move(key), std::move(certificates), std::move(anchors)}, now, profile));
    if (made->identity() != asked) {
        return refuse(Reason::tls_identity, fmt::format("asked the CA for {}, got {}", asked.to_string(),
                                                        made->identity().to_string()));
    }
    return made;
}

std::shared_ptr<const Credential> Credential::given(mesh::Identity identity, WallTime not_before,
                                                    WallTime not_after) {
    std::shared_ptr<Credential> made(new Credential);
    made->identity_ = std::move(identity);
    made->not_before_ = not_before;
    made->not_after_ = not_after;
    return made;
}

}  // namespace culvert::tls
