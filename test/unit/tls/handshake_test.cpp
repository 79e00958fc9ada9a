#include "lib/tls/handshake.h"

#include "test/unit/tls/shake.h"
#include "test/unit/tls/wire.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

// What a ClientHello says, as far as wire facts speak about it.
struct Hello {
    std::vector<unsigned> suites, extensions, versions;
    std::string alpn;
    bool ok = false;

    explicit Hello(ConstBytes record) {
        auto number = [&record](std::size_t size) {
            const auto value = static_cast<unsigned>(get_big_endian(record.data(), size));
            record = record.subspan(size);
            return value;
        };
        ok = number(1) == 22;
        number(2 + 2);
        ok = ok && number(1) == 1;
        number(3);
        number(2);
        record = record.subspan(32);         // random
        record = record.subspan(number(1));  // session id
        for (unsigned left = number(2); left > 0; left -= 2) suites.push_back(number(2));
        record = record.subspan(number(1));  // compression
        for (unsigned left = number(2); left > 0;) {
            const unsigned type = number(2), size = number(2);
            ConstBytes body = record.first(size);
            extensions.push_back(type);
            if (type == 16) alpn = as_text(body.subspan(2));
            if (type == 43) {
                for (std::size_t i = 1; i + 1 < size; i += 2) {
                    versions.push_back(static_cast<unsigned>(get_big_endian(&body[i], 2)));
                }
            }
            record = record.subspan(size);
            left -= 4 + size;
        }
    }
};

void talks(Established& from, Established& to) {
    Sealer out(std::move(from.write));
    Opener in(std::move(to.read));
    Buffer wire = sealed(out, as_bytes("hello"));
    const auto opened = in.open(wire);
    REQUIRE(opened);
    REQUIRE(as_text(opened->plaintext) == "hello");
}

}  // namespace

TEST_CASE("both sides end with each other's identity and keys that fit, however the bytes are cut [H-8]",
          "[handshake]") {
    const std::size_t cut = GENERATE(std::size_t{1} << 20, std::size_t{1}, std::size_t{7});
    const Ca ca;
    const auto a = ca.credential(alice), b = ca.credential(bob);
    OpensslHandshakes maker;
    Pair pair = pair_of(maker, a, b);
    pair.run(cut);
    REQUIRE((pair.client.done && pair.server.done));
    REQUIRE((pair.client.input.empty() && pair.server.input.empty()));
    Established client = pair.client.handshake->take(), server = pair.server.handshake->take();
    REQUIRE(client.peer.identity == identity(bob));
    REQUIRE(server.peer.identity == identity(alice));
    REQUIRE(client.peer.serial == b->chain()[0].serial);
    REQUIRE(server.peer.not_after == a->not_after());
    REQUIRE((client.read.sequence == 0 && server.write.sequence == 0));
    talks(client, server);
    talks(server, client);
}

TEST_CASE("bytes that came with the last flight stay with the caller", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Pair pair = pair_of(maker, ca.credential(alice), ca.credential(bob));
    append(pair.server.input, pair.client.turn());
    append(pair.client.input, pair.server.turn());
    append(pair.server.input, pair.client.turn());
    REQUIRE(pair.client.done);
    Sealer out(pair.client.handshake->take().write);
    append(pair.server.input, sealed(out, as_bytes("early")));
    REQUIRE(pair.server.turn().empty());
    REQUIRE(pair.server.done);
    Opener in(pair.server.handshake->take().read);
    REQUIRE(as_text(in.open(pair.server.input)->plaintext) == "early");
}

TEST_CASE("the client offers TLS 1.3 only, two suites in order, h2, and no name [H-2, H-3, H-5, H-6]",
          "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Pair pair = pair_of(maker, ca.credential(alice), ca.credential(bob));
    const Hello hello(pair.client.turn());
    REQUIRE(hello.ok);
    REQUIRE(hello.versions == std::vector<unsigned>{0x0304});
    std::vector<unsigned> suites = hello.suites;
    std::erase(suites, 0x00ffu);  // the signal that renegotiation is not attacked: no suite
    REQUIRE(suites == std::vector<unsigned>{0x1302, 0x1301});
    REQUIRE(hello.alpn == "\2h2");
    REQUIRE(std::ranges::find(hello.extensions, 0u) == hello.extensions.end());   // server_name
    REQUIRE(std::ranges::find(hello.extensions, 41u) == hello.extensions.end());  // pre_shared_key [H-7]
    REQUIRE(std::ranges::find(hello.extensions, 35u) == hello.extensions.end());  // session_ticket
}

TEST_CASE("AES-256 is chosen between two of ours; benches may pin AES-128 and groups [H-3]", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Pair usual = pair_of(maker, ca.credential(alice), ca.credential(bob));
    usual.run();
    REQUIRE(usual.client.handshake->take().read.suite == Suite::aes_256_gcm_sha384);
    const Profile pinned{true, "X25519:P-256"};
    Pair bench = pair_of(maker, ca.credential(alice, pinned), ca.credential(bob));
    bench.run();
    REQUIRE(bench.client.handshake->take().read.suite == Suite::aes_128_gcm_sha256);
}

TEST_CASE("X25519, P-256 and P-384 are spoken by both roles [H-4]", "[handshake]") {
    const std::string group = GENERATE(as<std::string>{}, "X25519", "P-256", "P-384");
    const Ca ca;
    OpensslHandshakes maker;
    const auto pinned = ca.credential(alice, {false, group});
    const auto usual = ca.credential(bob);
    Pair dials = pair_of(maker, pinned, usual), accepts = pair_of(maker, usual, pinned);
    dials.run();
    accepts.run();
    REQUIRE((dials.client.done && dials.server.done && accepts.client.done && accepts.server.done));
}

TEST_CASE("the server refuses ALPN without h2 and lets a client without ALPN through [H-5]", "[handshake]") {
    struct Row {
        std::string offered;
        bool accepted;
    };
    const Row row = GENERATE(Row{"", true}, Row{"\2h2", true}, Row{"\10http/1.1\2h2", true},
                             Row{"\10http/1.1", false}, Row{"\2h3", false}, Row{"\3h2c", false});
    const Ca ca;
    OpensslHandshakes maker;
    Side server{maker.server(ca.credential(bob), test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign client(true, [&](SSL_CTX* ctx) {
        Leaf leaf;
        leaf.uris = {alice};
        use(ctx, ca.issue(leaf), ca.root());
        if (!row.offered.empty()) {
            SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const unsigned char*>(row.offered.data()),
                                    static_cast<unsigned>(row.offered.size()));
        }
    });
    client.run(server, false);
    CAPTURE(row.offered);
    REQUIRE(server.done == row.accepted);
    if (row.accepted) return;
    REQUIRE(server.error.reason == Reason::tls_handshake);
    REQUIRE(client.error() == "tlsv1 alert no application protocol");
}

TEST_CASE("names that a client asks for are ignored [H-6]", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Side server{maker.server(ca.credential(bob), test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign client(
        true,
        [&](SSL_CTX* ctx) {
            Leaf leaf;
            leaf.uris = {alice};
            use(ctx, ca.issue(leaf), ca.root());
        },
        [](SSL* ssl) { SSL_set_tlsext_host_name(ssl, "somebody.else.example"); });
    client.run(server, false);
    REQUIRE(server.done);
}

TEST_CASE("TLS 1.2 and ChaCha20 are refused [H-2, H-3]", "[handshake]") {
    const bool version = GENERATE(true, false);
    const Ca ca;
    OpensslHandshakes maker;
    Side server{maker.server(ca.credential(bob), test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign client(true, [&](SSL_CTX* ctx) {
        Leaf leaf;
        leaf.uris = {alice};
        use(ctx, ca.issue(leaf), ca.root());
        if (version) {
            SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
        } else {
            SSL_CTX_set_ciphersuites(ctx, "TLS_CHACHA20_POLY1305_SHA256");
            SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
        }
    });
    client.run(server, false);
    REQUIRE(server.error.reason == Reason::tls_handshake);
    REQUIRE(client.error() == (version ? "tlsv1 alert protocol version" : "sslv3 alert handshake failure"));
}

TEST_CASE("the server sends no ticket, and a session cannot be resumed [H-7]", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    const auto credential = ca.credential(bob);
    Leaf leaf;
    leaf.uris = {alice};
    const auto issued = ca.issue(leaf);
    const auto setup = [&](SSL_CTX* ctx) {
        use(ctx, issued, ca.root());
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    };
    Side first{maker.server(credential, test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign client(true, setup);
    client.run(first, false);
    REQUIRE(first.done);
    Sealer out(first.handshake->take().write);
    REQUIRE(out.sequence() == 0);
    client.turn(sealed(out, as_bytes("first record")));
    REQUIRE(client.read() == "first record");  // nothing, so no ticket, came before it
    SSL_SESSION* session = SSL_get1_session(client.ssl());
    REQUIRE(SSL_SESSION_is_resumable(session) == 0);
    SSL_SESSION_free(session);
}

TEST_CASE("the chain is leaf and intermediates, never the root [H-9]", "[handshake]") {
    const Ca root;
    const Ca ca = root.intermediate("test intermediate");
    OpensslHandshakes maker;
    const bool we_serve = GENERATE(true, false);
    Leaf leaf;
    leaf.uris = {bob};
    Side ours;
    ours.handshake = we_serve ? maker.server(ca.credential(alice), test_now)
                              : maker.client(ca.credential(alice), {identity(bob)}, test_now);
    Foreign foreign(we_serve, [&](SSL_CTX* ctx) { use(ctx, ca.issue(leaf), root.root()); });
    foreign.run(ours, !we_serve);
    REQUIRE(ours.done);
    REQUIRE(foreign.done());
    STACK_OF(X509)* sent = SSL_get_peer_cert_chain(foreign.ssl());
    REQUIRE(sk_X509_num(sent) == (we_serve ? 2 : 1));  // OpenSSL keeps a client's leaf apart
    REQUIRE(to_pem(sk_X509_value(sent, we_serve ? 1 : 0)) == ca.own());
}

TEST_CASE("a client without a certificate is refused with a reason and told so [H-8]", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Side server{maker.server(ca.credential(bob), test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign client(true, [&](SSL_CTX* ctx) { SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr); });
    client.run(server, false);
    REQUIRE(server.error.reason == Reason::no_certificate);
    REQUIRE(client.error() == "tlsv13 alert certificate required");
}

TEST_CASE("a server that asks for no certificate is refused by nobody but learns nobody", "[handshake]") {
    const Ca ca;
    OpensslHandshakes maker;
    Side client{
        maker.client(ca.credential(alice), {identity(bob)}, test_now), {}, false, {Reason::none, 0, {}}, {}};
    Foreign server(false, [&](SSL_CTX* ctx) {
        Leaf leaf;
        leaf.uris = {bob};
        use(ctx, ca.issue(leaf), ca.root());
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
    });
    server.run(client, true);
    REQUIRE(client.done);
}

TEST_CASE("the peer's alert during the handshake is a reason of its own", "[handshake]") {
    const Ca ca, other("other root");
    OpensslHandshakes maker;
    Side client{
        maker.client(ca.credential(alice), {identity(bob)}, test_now), {}, false, {Reason::none, 0, {}}, {}};
    (void)client.turn();
    append(client.input, Buffer{std::byte{21}, std::byte{3}, std::byte{3}, std::byte{0}, std::byte{2},
                                std::byte{2}, std::byte{40}});
    (void)client.turn();
    REQUIRE(client.error == Error{Reason::tls_alert, 40, {}});
    REQUIRE(client.why == "sslv3 alert handshake failure");
}

TEST_CASE("a server's refusal of our certificate reaches the client as an alert under application keys [H-8]",
          "[handshake]") {
    const Ca ca, other("other root");
    OpensslHandshakes maker;
    Leaf leaf;
    leaf.uris = {alice};
    const auto issued = other.issue(leaf);
    // Trusts the server's root, but is itself of another.
    const auto client =
        Credential::from_pem(issued.key, issued.chain, other.root() + ca.root(), test_now).value();
    Pair pair = pair_of(maker, client, ca.credential(bob));
    pair.run();
    REQUIRE(pair.client.done);
    REQUIRE(pair.server.error.reason == Reason::tls_handshake);
    Opener in(pair.client.handshake->take().read);
    REQUIRE(in.open(pair.client.input).error() == Failure{Alert{48}, true});  // unknown_ca
}

TEST_CASE("the simulator's maker is given no credential of OpenSSL's and the other way round",
          "[handshake]") {
    const auto given = Credential::given(identity(alice), test_now - 1h, test_now + 1h);
    REQUIRE(given->context() == nullptr);
    REQUIRE(given->refresh_at() == test_now);
}
