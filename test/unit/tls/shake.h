// Handshakes over memory: ours against ours, and ours against an OpenSSL peer that may do what ours never
// would.
#pragma once
#include "lib/tls/handshake.h"
#include "lib/tls/x509.h"
#include "test/support/pki.h"

#include <functional>

namespace culvert::tls::test {

using namespace culvert::test;

inline mesh::Identity identity(std::string_view spiffe) { return mesh::Identity::parse(spiffe).value(); }

inline constexpr auto alice = "spiffe://cluster.local/ns/a/sa/alice";
inline constexpr auto bob = "spiffe://cluster.local/ns/b/sa/bob";

// One side with what arrived for it.
struct Side {
    std::unique_ptr<Handshake> handshake;
    Buffer input;
    bool done = false;
    Error error{Reason::none, 0, {}};
    std::string why;

    bool over() const { return done || error.reason != Reason::none; }
    // Advances with what is there; returns what is to be sent.
    Buffer turn() {
        if (over()) return {};
        auto progress = handshake->advance(input);
        Buffer out = handshake->take_output();
        if (!progress) {
            error = progress.error();
            why = handshake->why();
            return out;
        }
        input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(progress->used));
        done = progress->done;
        return out;
    }
};

struct Pair {
    Side client, server;
    std::size_t to_client = 0, to_server = 0;  // bytes

    // Delivers at most `cut` bytes at a time until nobody has anything to say.
    void run(std::size_t cut = 1 << 20) {
        Buffer up = client.turn(), down;
        while (!up.empty() || !down.empty()) {
            const auto deliver = [cut](Buffer& wire, Side& to) {
                const std::size_t size = std::min(cut, wire.size());
                append(to.input, ConstBytes(wire).first(size));
                wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(size));
                return size;
            };
            if (!up.empty()) {
                to_server += deliver(up, server);
                append(down, server.turn());
            }
            if (!down.empty()) {
                to_client += deliver(down, client);
                append(up, client.turn());
            }
        }
    }
};

inline Pair pair_of(HandshakeMaker& maker, const std::shared_ptr<const Credential>& client,
                    const std::shared_ptr<const Credential>& server, WallTime now = test_now) {
    Pair out;
    out.client.handshake = maker.client(client, {server->identity()}, now);
    out.server.handshake = maker.server(server, now);
    return out;
}

// A foreign peer: OpenSSL over memory, set up by the test.
class Foreign {
public:
    Foreign(
        bool client, const std::function<void(SSL_CTX*)>& setup,
        const std::function<void(SSL*)>& per_connection = [](SSL*) {})
        : context_(SSL_CTX_new(TLS_method())) {
        setup(context_.get());
        ssl_.reset(SSL_new(context_.get()));
        SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
        per_connection(ssl_.get());
    }
    // Takes `input`, goes on with the handshake (or reads, after it), returns what it says.
    Buffer turn(ConstBytes input) {
        if (!input.empty()) BIO_write(SSL_get_rbio(ssl_.get()), input.data(), static_cast<int>(input.size()));
        if (!done_) done_ = SSL_do_handshake(ssl_.get()) == 1;
        if (done_) {
            std::array<char, 4096> text{};
            const int got = SSL_read(ssl_.get(), text.data(), static_cast<int>(text.size()));
            if (got > 0) read_.append(text.data(), static_cast<std::size_t>(got));
        }
        return take();
    }
    Buffer take() {
        const std::string said = text_of(SSL_get_wbio(ssl_.get()));
        (void)BIO_reset(SSL_get_wbio(ssl_.get()));
        return {as_bytes(said).begin(), as_bytes(said).end()};
    }
    // Runs against ours until nobody has anything to say.
    void run(Side& ours, bool ours_first) {
        Buffer to_foreign = ours_first ? ours.turn() : Buffer{};
        for (bool first = true; first || !to_foreign.empty(); first = false) {
            append(ours.input, turn(to_foreign));
            to_foreign = ours.turn();
        }
        error_ = openssl_error();
    }
    SSL* ssl() { return ssl_.get(); }
    bool done() const { return done_; }
    const std::string& read() const { return read_; }
    const std::string& error() const { return error_; }

private:
    ContextPtr context_;
    SslPtr ssl_;
    bool done_ = false;
    std::string read_, error_;
};

inline void use(SSL_CTX* ctx, const Ca::Issued& issued, const std::string& root) {
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(ctx),
                               std::chrono::floor<std::chrono::seconds>(test_now).time_since_epoch().count());
    auto chain = parse_certificates(issued.chain, false).value();
    SSL_CTX_use_certificate(ctx, chain[0].get());
    for (std::size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(ctx, chain[i].get());
    auto key = PrivateKey::from_pem(issued.key).value();
    SSL_CTX_use_PrivateKey(ctx, key.get());
    for (auto& anchor : parse_certificates(root, false).value()) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), anchor.get());
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
}

}  // namespace culvert::tls::test
