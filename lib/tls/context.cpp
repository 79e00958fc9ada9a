#include "lib/tls/context.h"

#include "lib/tls/handshake.h"

namespace culvert::tls {
namespace {

constexpr unsigned char h2[] = {2, 'h', '2'};

// H-5, server: only asked when the client offers ALPN at all.
int choose_h2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
              unsigned in_size, void*) {
    for (unsigned at = 0; at < in_size; at += 1u + in[at]) {
        if (in[at] != 2 || at + 3 > in_size || in[at + 1] != 'h' || in[at + 2] != '2') continue;
        *out = in + at + 1;
        *out_size = 2;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
}

}  // namespace

StorePtr make_store(std::span<const X509Ptr> roots) {
    StorePtr store(X509_STORE_new());
    for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
    // Each root that was delivered is an anchor, self-signed or not (CA-4); purposes are judged per
    // handshake.
    X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
    X509_STORE_set_depth(store.get(), chain_depth_max);
    return store;
}

Result<ContextPtr> make_context(const ContextParts& parts, const Profile& profile) {
    ContextPtr context(SSL_CTX_new(TLS_method()));
    SSL_CTX* ctx = context.get();
    if (ctx == nullptr) return refuse(Reason::internal, openssl_error());
    const char* suites = profile.aes_128_only ? "TLS_AES_128_GCM_SHA256"
                                              : "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";  // H-3
    SSL_CTX_set_security_level(ctx, 2);  // RSA from 2048 bits, no SHA-1
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);  // H-7
    SSL_CTX_set_max_cert_list(ctx, handshake_bytes_max);
    // H-9: send what we were given; without this OpenSSL would complete the chain from the store, at each
    // handshake.
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    bool made = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&  // H-2
                SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_ciphersuites(ctx, suites) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
                SSL_CTX_set_alpn_protos(ctx, h2, sizeof h2) == 0 &&
                SSL_CTX_use_certificate(ctx, parts.chain[0].get()) == 1;
    if (!made) return refuse(Reason::bad_input, "certificate not usable for TLS: " + openssl_error());
    if (SSL_CTX_set1_groups_list(ctx, profile.groups.c_str()) != 1) {
        return refuse(Reason::bad_configuration, "unknown key-exchange groups: " + profile.groups);
    }
    if (SSL_CTX_use_PrivateKey(ctx, parts.key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        return refuse(Reason::bad_input, "the key does not belong to the certificate: " + openssl_error());
    }
    for (const X509Ptr& intermediate : parts.chain.subspan(1)) {
        if (SSL_CTX_add1_chain_cert(ctx, intermediate.get()) != 1) {
            return refuse(Reason::bad_input, "intermediate not usable: " + openssl_error());
        }
    }
    SSL_CTX_set_cert_store(ctx, make_store(parts.roots).release());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);  // H-8
    SSL_CTX_set_cert_verify_callback(ctx, on_certificate, nullptr);
    SSL_CTX_set_alpn_select_cb(ctx, choose_h2, nullptr);
    SSL_CTX_set_keylog_callback(ctx, on_secret);
    return context;
}

}  // namespace culvert::tls
