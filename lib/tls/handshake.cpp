#include "lib/tls/handshake.h"

#include "lib/base/check.h"
#include "lib/tls/chain_cache.h"
#include "lib/tls/context.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>
#include <openssl/err.h>

namespace culvert::tls {
namespace {

constexpr int alert_offset =
    1000;  // SSL_AD_REASON_OFFSET: OpenSSL's reason of a received alert, less this, is its number

int nibble(char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }

bool about_time(int error) {
    return error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
}

std::time_t seconds(WallTime at) {
    return std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
}

enum class Role : std::uint8_t { client, server };

class OpensslHandshake final : public Handshake {
public:
    OpensslHandshake(Role role, std::shared_ptr<const Credential> credential,
                     std::vector<mesh::Identity> accepted, WallTime now, ChainCache& verified);

    Result<Progress> advance(ConstBytes input) override;
    Buffer take_output() override { return std::exchange(output_, {}); }
    Established take() override;
    std::string why() const override;

    void on_secret(std::string_view line);
    bool on_certificate(X509_STORE_CTX* chain);

    // Where an SSL's extra data keeps its handshake; index 0 belongs to whoever calls SSL_set_app_data.
    static int index() {
        static const int number = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
        return number;
    }

private:
    enum class Fed : std::uint8_t { record, need_more, too_much };

    Fed feed(ConstBytes input);
    Result<Progress> finish(Progress progress);
    std::unexpected<Error> fail(Reason reason, int detail, const char* said);
    std::unexpected<Error> openssl_failed(int error);
    void collect_output();
    bool chains(X509_STORE_CTX* chain);
    bool accepts(const mesh::Identity& peer) const;

    Role role_;
    std::shared_ptr<const Credential> credential_;
    std::vector<mesh::Identity> accepted_;
    WallTime now_;
    ChainCache& verified_;
    SslPtr ssl_;
    Buffer output_;
    std::size_t taken_bytes_ = 0;
    bool started_ = false;
    bool peer_known_ = false;
    Established result_;
    // A refusal, and what why() says about it.
    Error error_{Reason::none, 0, {}};
    const char* said_ = "";  // static text: OpenSSL's or ours
    int chain_error_ = X509_V_OK;
    std::string names_;  // the identity that was not accepted, or what is wrong with the names
};

OpensslHandshake::OpensslHandshake(Role role, std::shared_ptr<const Credential> credential,
                                   std::vector<mesh::Identity> accepted, WallTime now, ChainCache& verified)
    : role_(role), credential_(std::move(credential)), accepted_(std::move(accepted)), now_(now),
      verified_(verified) {
    check(credential_->context() != nullptr);  // a given() credential belongs to the simulator's maker
    ssl_.reset(SSL_new(credential_->context()));
    check(ssl_ != nullptr && SSL_set_ex_data(ssl_.get(), index(), this) == 1);
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    role == Role::client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
}

Result<Handshake::Progress> OpensslHandshake::advance(ConstBytes input) {
    if (error_.reason != Reason::none) return std::unexpected(error_);
    check(ssl_ != nullptr);  // not after `done`
    Progress progress;
    for (;;) {
        if (started_) {
            const std::size_t before = taken_bytes_;
            const Fed fed = feed(input.subspan(progress.used));
            if (fed == Fed::need_more) return progress;
            if (fed == Fed::too_much) return fail(Reason::limit, 0, "the peer's handshake is too long");
            progress.used += taken_bytes_ - before;
        }
        started_ = true;
        ERR_clear_error();
        const int result = SSL_do_handshake(ssl_.get());
        const int error = SSL_get_error(ssl_.get(), result);
        collect_output();
        if (result == 1) return finish(progress);
        if (error != SSL_ERROR_WANT_READ) return openssl_failed(error);
    }
}

// One whole record for OpenSSL, never more: what follows the handshake must not end up in there.
OpensslHandshake::Fed OpensslHandshake::feed(ConstBytes input) {
    if (input.size() < header_size) return Fed::need_more;
    std::size_t size = record_size(input);
    // A header that can never become right goes in alone, so that OpenSSL says so and writes the alert.
    const auto type = ContentType(input[0]);
    const bool plausible = type >= ContentType::change_cipher_spec && type <= ContentType::application_data &&
                           size <= header_size + ciphertext_max;
    if (!plausible) size = header_size;
    if (taken_bytes_ + size > handshake_bytes_max) return Fed::too_much;
    if (input.size() < size) return Fed::need_more;
    check(BIO_write(SSL_get_rbio(ssl_.get()), input.data(), static_cast<int>(size)) ==
          static_cast<int>(size));
    taken_bytes_ += size;
    return Fed::record;
}

void OpensslHandshake::collect_output() {
    BIO* out = SSL_get_wbio(ssl_.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    append(output_, as_bytes({data, static_cast<std::size_t>(size)}));
    (void)BIO_reset(out);
}

Result<Handshake::Progress> OpensslHandshake::finish(Progress progress) {
    const unsigned char* protocol = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
    const std::string_view chosen(reinterpret_cast<const char*>(protocol), size);
    if (!chosen.empty() && chosen != "h2")
        return fail(Reason::tls_handshake, 0, "the peer chose a protocol not offered");
    // Bytes behind the Finished in its own record: no peer that follows RFC 8446 5.1 does that.
    if (BIO_ctrl_pending(SSL_get_rbio(ssl_.get())) != 0 || SSL_has_pending(ssl_.get()) != 0) {
        return fail(Reason::tls_handshake, 0, "bytes behind the handshake in its last record");
    }
    if (!peer_known_)
        return fail(Reason::no_certificate, 0, "no certificate of the peer");  // a resumed session, say
    if (result_.read.secret.size() == 0 || result_.write.secret.size() == 0) {
        return fail(Reason::internal, 0, "no traffic secrets");
    }
    ssl_.reset();
    progress.done = true;
    return progress;
}

Established OpensslHandshake::take() {
    check(peer_known_ && ssl_ == nullptr);
    peer_known_ = false;
    return std::move(result_);
}

// ---- refusals ---------------------------------------------------------------------------------------------

std::unexpected<Error> OpensslHandshake::fail(Reason reason, int detail, const char* said) {
    said_ = said;
    error_ = {reason, detail, {}};
    ssl_.reset();
    ERR_clear_error();
    return std::unexpected(error_);
}

std::unexpected<Error> OpensslHandshake::openssl_failed(int error) {
    const unsigned long code = ERR_peek_error();
    const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    const char* said = ERR_reason_error_string(code);
    if (said == nullptr) said = "";
    if (!names_.empty()) return fail(Reason::tls_identity, 0, said);
    if (chain_error_ != X509_V_OK) {
        return fail(about_time(chain_error_) ? Reason::certificate_expired : Reason::tls_handshake, 0, said);
    }
    if (error == SSL_ERROR_ZERO_RETURN) return fail(Reason::tls_alert, 0, "close_notify");
    if (reason >= alert_offset) return fail(Reason::tls_alert, reason - alert_offset, said);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return fail(Reason::no_certificate, 0, said);
    return fail(Reason::tls_handshake, 0, said);
}

std::string OpensslHandshake::why() const {
    if (error_.reason == Reason::none) return {};
    if (chain_error_ != X509_V_OK) {
        return fmt::format("the peer's certificate: {}", X509_verify_cert_error_string(chain_error_));
    }
    if (names_.empty()) return said_;
    if (role_ == Role::server) {
        return fmt::format("the client is {}; trust domain {} is required", names_,
                           credential_->identity().trust_domain);
    }
    std::string wanted;
    for (const mesh::Identity& each : accepted_) wanted += (wanted.empty() ? "" : ", ") + each.to_string();
    return fmt::format("the server is {}; accepted: {}", names_, wanted.empty() ? "nobody" : wanted);
}

// ---- what OpenSSL tells in between ------------------------------------------------------------------------

// "LABEL <client random> <secret in hex>". The only supported way to the traffic secrets.
void OpensslHandshake::on_secret(std::string_view line) {
    const bool from_client = line.starts_with("CLIENT_TRAFFIC_SECRET_0 ");
    if (!from_client && !line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) return;
    const std::string_view hex = line.substr(line.rfind(' ') + 1);
    const Suite suite = hex.size() == 64 ? Suite::aes_128_gcm_sha256 : Suite::aes_256_gcm_sha384;
    check(hex.size() == 2 * secret_size(suite));  // we offer no other suite
    Secret secret(secret_size(suite));
    for (std::size_t i = 0; i < secret.size(); ++i) {
        secret.writable()[i] = std::byte(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    }
    TrafficKey& key = from_client == (role_ == Role::client) ? result_.write : result_.read;
    key = {suite, std::move(secret), 0};
}

bool OpensslHandshake::chains(X509_STORE_CTX* chain) {
    // What is remembered must depend on all that decides: the use, the roots, the certificate.
    std::array<std::byte, 1 + 2 * 32> facts{std::byte(role_)};
    std::ranges::copy(credential_->roots_digest(), facts.begin() + 1);
    X509_digest(X509_STORE_CTX_get0_cert(chain), EVP_sha256(), raw(&facts[33]), nullptr);
    ChainCache::Key key{};
    EVP_Digest(facts.data(), facts.size(), raw(key.data()), nullptr, EVP_sha256(), nullptr);
    if (verified_.holds(key, now_)) return true;

    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(chain), seconds(now_));
    if (X509_verify_cert(chain) != 1) {
        chain_error_ = X509_STORE_CTX_get_error(chain);
        if (chain_error_ == X509_V_OK) chain_error_ = X509_V_ERR_UNSPECIFIED;
        return false;
    }
    ChainCache::Window window{WallTime::min(), WallTime::max()};
    STACK_OF(X509)* links = X509_STORE_CTX_get0_chain(chain);
    for (int i = 0; i < sk_X509_num(links); ++i) {
        const X509* link = sk_X509_value(links, i);
        window.not_before = std::max(window.not_before, to_wall(X509_get0_notBefore(link)));
        window.not_after = std::min(window.not_after, to_wall(X509_get0_notAfter(link)));
    }
    verified_.add(key, window);
    return true;
}

bool OpensslHandshake::accepts(const mesh::Identity& peer) const {
    if (role_ == Role::server) return peer.trust_domain == credential_->identity().trust_domain;  // H-13
    return std::ranges::find(accepted_, peer) != accepted_.end();                                 // H-14
}

bool OpensslHandshake::on_certificate(X509_STORE_CTX* chain) {
    if (!chains(chain)) return false;
    const X509* leaf = X509_STORE_CTX_get0_cert(chain);
    auto identity = only_identity(leaf);
    if (!identity || !accepts(*identity)) {
        names_ = identity ? identity->to_string() : identity.error().text;
        X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REJECTED);  // becomes the alert bad_certificate
        return false;
    }
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    result_.peer = {*std::move(identity), serial_of(leaf), to_wall(X509_get0_notAfter(leaf))};
    peer_known_ = true;
    return true;
}

}  // namespace

void on_secret(const SSL* ssl, const char* line) {
    static_cast<OpensslHandshake*>(SSL_get_ex_data(ssl, OpensslHandshake::index()))->on_secret(line);
}

int on_certificate(X509_STORE_CTX* chain, void*) {
    const auto* ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* handshake = static_cast<OpensslHandshake*>(SSL_get_ex_data(ssl, OpensslHandshake::index()));
    return handshake->on_certificate(chain) ? 1 : 0;
}

OpensslHandshakes::OpensslHandshakes() : verified_(std::make_unique<ChainCache>()) {}
OpensslHandshakes::~OpensslHandshakes() = default;

std::unique_ptr<Handshake> OpensslHandshakes::client(std::shared_ptr<const Credential> credential,
                                                     std::vector<mesh::Identity> accepted, WallTime now) {
    return std::make_unique<OpensslHandshake>(Role::client, std::move(credential), std::move(accepted), now,
                                              *verified_);
}

std::unique_ptr<Handshake> OpensslHandshakes::server(std::shared_ptr<const Credential> credential,
                                                     WallTime now) {
    return std::make_unique<OpensslHandshake>(Role::server, std::move(credential),
                                              std::vector<mesh::Identity>{}, now, *verified_);
}

}  // namespace culvert::tls
