// Who is accepted: wire facts H-11 to H-14, rule S16.
#include "test/unit/tls/shake.h"

#include "lib/tls/chain_cache.h"
#include "lib/tls/records.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

// The peer shows a certificate as `leaf` says, signed by `ca`; our side judges it.
Side judge(bool we_serve, const Ca& ca, const Leaf& leaf, const Ca& ours,
           std::vector<mesh::Identity> accepted, WallTime now = test_now) {
    OpensslHandshakes maker;
    const auto credential = ours.credential(alice);
    Side side;
    side.handshake =
        we_serve ? maker.server(credential, now) : maker.client(credential, std::move(accepted), now);
    Foreign foreign(we_serve, [&](SSL_CTX* ctx) {
        SSL_CTX_set_security_level(ctx, 0);
        use(ctx, ca.issue(leaf), ours.root());
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    });
    foreign.run(side, !we_serve);
    return side;
}

Leaf leaf_of(std::vector<std::string> uris) {
    Leaf leaf;
    leaf.uris = std::move(uris);
    return leaf;
}

}  // namespace

TEST_CASE("a server accepts exactly clients of its roots and its trust domain [H-13]", "[handshake]") {
    const Ca ca, stranger("test root");
    const auto reason = [&](const Ca& signer, const Leaf& leaf) {
        return judge(true, signer, leaf, ca, {}).error.reason;
    };
    REQUIRE(reason(ca, leaf_of({bob})) == Reason::none);
    REQUIRE(reason(ca, leaf_of({"spiffe://cluster.local/ns/x/sa/y"})) == Reason::none);
    REQUIRE(reason(ca, leaf_of({"spiffe://other.domain/ns/b/sa/bob"})) == Reason::tls_identity);
    REQUIRE(reason(ca, leaf_of({"spiffe://cluster.local.evil/ns/b/sa/bob"})) == Reason::tls_identity);
    REQUIRE(reason(ca, leaf_of({"spiffe://CLUSTER.LOCAL/ns/b/sa/bob"})) == Reason::tls_identity);
    REQUIRE(reason(stranger, leaf_of({bob})) == Reason::tls_handshake);
}

TEST_CASE("a client accepts exactly the servers that it expects [H-14]", "[handshake]") {
    const Ca ca, stranger("test root");
    const auto reason = [&](const Ca& signer, const Leaf& leaf, std::vector<mesh::Identity> accepted) {
        return judge(false, signer, leaf, ca, std::move(accepted)).error.reason;
    };
    REQUIRE(reason(ca, leaf_of({bob}), {identity(bob)}) == Reason::none);
    REQUIRE(reason(ca, leaf_of({bob}), {identity(alice), identity(bob)}) == Reason::none);
    REQUIRE(reason(ca, leaf_of({bob}), {identity(alice)}) == Reason::tls_identity);
    REQUIRE(reason(ca, leaf_of({bob}), {identity("spiffe://cluster.local/ns/b/sa/bo")}) ==
            Reason::tls_identity);
    REQUIRE(reason(stranger, leaf_of({bob}), {identity(bob)}) == Reason::tls_handshake);
}

TEST_CASE("an empty set of accepted servers never matches [H-14]", "[handshake]") {
    const Ca ca;
    const Side side = judge(false, ca, leaf_of({bob}), ca, {});
    REQUIRE(side.error.reason == Reason::tls_identity);
    REQUIRE(side.why == std::string("the server is ") + bob + "; accepted: nobody");
}

TEST_CASE("a server of another trust domain is accepted when it is expected [H-14]", "[handshake]") {
    const Ca ca;
    constexpr auto far = "spiffe://far.domain/ns/b/sa/bob";
    REQUIRE(judge(false, ca, leaf_of({far}), ca, {identity(far)}).done);
}

TEST_CASE("DNS names prove nothing [H-14]", "[handshake]") {
    const Ca ca;
    Leaf leaf;
    leaf.dns = {"bob.b.svc.cluster.local"};
    REQUIRE(judge(false, ca, leaf, ca, {identity(bob)}).error.reason == Reason::tls_identity);
    leaf.uris = {bob};
    REQUIRE(judge(false, ca, leaf, ca, {identity(bob)}).done);
}

TEST_CASE("more than one URI name is refused, in both roles, whatever they are [S16]", "[handshake]") {
    const bool we_serve = GENERATE(true, false);
    const Ca ca;
    const auto refused = [&](std::vector<std::string> uris) {
        const Side side = judge(we_serve, ca, leaf_of(std::move(uris)), ca, {identity(bob)});
        return side.error.reason == Reason::tls_identity &&
               side.why.find("more than one URI name") != std::string::npos;
    };
    REQUIRE(refused({bob, "spiffe://cluster.local/ns/b/sa/root"}));
    REQUIRE(refused({bob, bob}));
    REQUIRE(refused({bob, "https://example.com/"}));
    REQUIRE(refused({"https://example.com/", bob}));
}

TEST_CASE("what is no SPIFFE id of the mesh is no identity [H-11, H-12]", "[handshake]") {
    const bool we_serve = GENERATE(true, false);
    const Ca ca;
    for (const char* uri :
         {"spiffe://cluster.local/ns/b/sa/bob/x", "spiffe://cluster.local/sa/bob/ns/b",
          "https://cluster.local/ns/b/sa/bob", "spiffe://cluster.local/ns/b", "spiffe:///ns/b/sa/bob"}) {
        CAPTURE(uri);
        REQUIRE(judge(we_serve, ca, leaf_of({uri}), ca, {identity(bob)}).error.reason ==
                Reason::tls_identity);
    }
    REQUIRE(judge(we_serve, ca, leaf_of({}), ca, {identity(bob)}).error.reason == Reason::tls_identity);
}

TEST_CASE("certificates count between their times, by the caller's clock [H-13, H-14]", "[handshake]") {
    const bool we_serve = GENERATE(true, false);
    const Ca ca;
    const auto reason = [&](WallTime now) {
        return judge(we_serve, ca, leaf_of({bob}), ca, {identity(bob)}, now).error.reason;
    };
    REQUIRE(reason(test_now - 2h) == Reason::certificate_expired);
    REQUIRE(reason(test_now - 1h) == Reason::none);
    REQUIRE(reason(test_now + 24h - 1s) == Reason::none);
    REQUIRE(reason(test_now + 24h) == Reason::certificate_expired);
}

TEST_CASE("a certificate for the other role only is refused [H-13, H-14]", "[handshake]") {
    const bool we_serve = GENERATE(true, false);
    const Ca ca;
    Leaf leaf = leaf_of({bob});
    leaf.purposes = we_serve ? "serverAuth" : "clientAuth";
    REQUIRE(judge(we_serve, ca, leaf, ca, {identity(bob)}).error.reason == Reason::tls_handshake);
    leaf.purposes = we_serve ? "clientAuth" : "serverAuth";
    REQUIRE(judge(we_serve, ca, leaf, ca, {identity(bob)}).done);
    leaf.purposes = "";
    REQUIRE(judge(we_serve, ca, leaf, ca, {identity(bob)}).done);
}

TEST_CASE("a certificate signed over SHA-1 is refused", "[handshake]") {
    const Ca ca;
    Leaf leaf = leaf_of({bob});
    leaf.sha1 = true;
    REQUIRE(judge(true, ca, leaf, ca, {}).error.reason == Reason::tls_handshake);
}

TEST_CASE("a leaf signed by a leaf is refused", "[handshake]") {
    const Ca ca;
    // Somebody who holds an ordinary workload certificate tries to be a CA with it.
    const Ca::Issued mallory = ca.issue(leaf_of({"spiffe://cluster.local/ns/m/sa/mallory"}));
    const Ca intermediate = ca.intermediate("real");
    OpensslHandshakes maker;
    Side server;
    server.handshake = maker.server(ca.credential(alice), test_now);
    Foreign client(true, [&](SSL_CTX* ctx) {
        const auto key = PrivateKey::from_pem(mallory.key).value();
        const auto signer = std::move(parse_certificates(mallory.chain, false).value()[0]);
        Ca::Issued forged = Ca("unused").issue(leaf_of({bob}));
        const auto leaf = std::move(parse_certificates(forged.chain, false).value()[0]);
        X509_set_issuer_name(leaf.get(), X509_get_subject_name(signer.get()));
        X509_sign(leaf.get(), key.get(), EVP_sha256());
        use(ctx, {forged.key, to_pem(leaf.get()) + mallory.chain}, ca.root());
    });
    client.run(server, false);
    REQUIRE(server.error.reason == Reason::tls_handshake);
}

TEST_CASE("roots in rotation: either side's root suffices while both are delivered [CA-4]", "[handshake]") {
    const Ca old_root("old"), new_root("new");
    Leaf leaf = leaf_of({bob});
    const auto old_leaf = old_root.issue(leaf), new_leaf = new_root.issue(leaf_of({alice}));
    const std::string both = old_root.root() + new_root.root();
    const auto b = Credential::from_pem(old_leaf.key, old_leaf.chain, both, test_now).value();
    const auto a = Credential::from_pem(new_leaf.key, new_leaf.chain, both, test_now).value();
    OpensslHandshakes maker;
    Pair pair = pair_of(maker, a, b);
    pair.run();
    REQUIRE((pair.client.done && pair.server.done));
}

TEST_CASE("a chain that was verified before is not trusted beyond its times, its roots or its use",
          "[handshake]") {
    const Ca ca, other("other");
    OpensslHandshakes maker;  // one for all of these: it remembers
    const auto a = ca.credential(alice), b = ca.credential(bob);
    const auto dial = [&](const auto& client, const auto& server, WallTime now) {
        Pair pair = pair_of(maker, client, server, now);
        pair.run();
        return std::pair{pair.client.error.reason, pair.server.error.reason};
    };
    const std::pair good{Reason::none, Reason::none};
    for (int i = 0; i < 3; ++i) REQUIRE(dial(a, b, test_now) == good);
    REQUIRE(dial(a, b, test_now + 25h).first == Reason::certificate_expired);
    REQUIRE(dial(a, b, test_now - 2h).first == Reason::certificate_expired);
    REQUIRE(dial(other.credential(alice), b, test_now).first ==
            Reason::tls_handshake);  // b again, other roots
    // A client's certificate that may not serve was remembered as a client's only.
    Leaf leaf = leaf_of({alice});
    leaf.purposes = "clientAuth";
    const auto issued = ca.issue(leaf);
    const auto client_only = Credential::from_pem(issued.key, issued.chain, ca.root(), test_now).value();
    REQUIRE(dial(client_only, b, test_now) == good);
    REQUIRE(dial(b, client_only, test_now).first == Reason::tls_handshake);
    // Identity is judged each time.
    Pair wrong;
    wrong.client.handshake = maker.client(a, {identity(alice)}, test_now);
    wrong.server.handshake = maker.server(b, test_now);
    wrong.run();
    REQUIRE(wrong.client.error.reason == Reason::tls_identity);
}

TEST_CASE("the cache holds an entry for its window and its whole key", "[handshake]") {
    ChainCache cache;
    ChainCache::Key key{std::byte{7}, std::byte{1}}, same_slot{std::byte{7}, std::byte{2}};
    cache.add(key, {test_now, test_now + 1h});
    REQUIRE(cache.holds(key, test_now));
    REQUIRE(cache.holds(key, test_now + 1h - 1ns));
    REQUIRE_FALSE(cache.holds(key, test_now - 1ns));
    REQUIRE_FALSE(cache.holds(key, test_now + 1h));
    REQUIRE_FALSE(cache.holds(same_slot, test_now));
    REQUIRE_FALSE(cache.holds({}, test_now));  // an empty slot holds nothing, not even zeroes
    cache.add(same_slot, {test_now, test_now + 1h});
    REQUIRE_FALSE(cache.holds(key, test_now));
}
