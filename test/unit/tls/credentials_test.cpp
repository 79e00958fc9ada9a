#include "lib/tls/credentials.h"

#include "lib/tls/x509.h"
#include "test/support/given_handshake.h"
#include "test/unit/tls/shake.h"

#include <catch2/catch.hpp>
#include <openssl/ec.h>
#include <openssl/pem.h>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

std::string with_newlines(std::initializer_list<std::string> parts) {
    std::string out;
    for (const std::string& part : parts) out += part + "\n";
    return out;
}

// The answer of a CA to a fresh key for `asked`, its elements changed by `change`.
template <class F> Result<std::shared_ptr<const Credential>> answered(const Ca& ca, F change) {
    PrivateKey key = PrivateKey::generate().value();
    const auto asked = identity(alice);
    std::vector<std::string> chain{ca.sign_csr(make_csr(key, asked).value()), ca.root()};
    change(chain);
    return Credential::from_response(std::move(key), chain, asked, test_now);
}

}  // namespace

TEST_CASE("a request has an empty subject, one critical URI name, P-256 and SHA-256, and nothing else [CA-3]",
          "[credentials]") {
    const PrivateKey key = PrivateKey::generate().value();
    const std::string pem = make_csr(key, identity(alice)).value();
    const BioPtr in = read_only(pem);
    const CsrPtr csr(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
    REQUIRE(csr);
    REQUIRE(X509_NAME_entry_count(X509_REQ_get_subject_name(csr.get())) == 0);
    REQUIRE(X509_REQ_get_version(csr.get()) == 0);
    REQUIRE(X509_REQ_get_attr_count(csr.get()) == 1);
    REQUIRE(X509_REQ_get_signature_nid(csr.get()) == NID_ecdsa_with_SHA256);
    REQUIRE(X509_REQ_verify(csr.get(), X509_REQ_get0_pubkey(csr.get())) == 1);
    std::array<char, 32> group{};
    REQUIRE(EVP_PKEY_get_utf8_string_param(X509_REQ_get0_pubkey(csr.get()), "group", group.data(),
                                           group.size(), nullptr) == 1);
    REQUIRE(std::string(group.data()) == "prime256v1");
    STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(csr.get());
    REQUIRE(sk_X509_EXTENSION_num(extensions) == 1);
    X509_EXTENSION* san = sk_X509_EXTENSION_value(extensions, 0);
    REQUIRE(OBJ_obj2nid(X509_EXTENSION_get_object(san)) == NID_subject_alt_name);
    REQUIRE(X509_EXTENSION_get_critical(san) == 1);
    GENERAL_NAMES* names = static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(san));
    REQUIRE(sk_GENERAL_NAME_num(names) == 1);
    REQUIRE(only_identity(names).value() == identity(alice));
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

TEST_CASE("every key is fresh and leaves as PKCS#8 [CA-3]", "[credentials]") {
    const SecretText one = PrivateKey::generate()->to_pem(), two = PrivateKey::generate()->to_pem();
    REQUIRE(one.reveal() != two.reveal());
    REQUIRE(one.reveal().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    REQUIRE(PrivateKey::from_pem(one.reveal()));
}

TEST_CASE("an answer is a leaf, intermediates, and roots as its last element [CA-4]", "[credentials]") {
    const Ca root, ca = root.intermediate("one"), second("second root");
    const auto plain = answered(root, [](auto&) {});
    REQUIRE(plain);
    REQUIRE((*plain)->chain().size() == 1);
    REQUIRE((*plain)->roots().size() == 1);
    const auto longer =
        answered(ca, [&](auto& chain) { chain = {chain[0], ca.own(), root.root() + second.root()}; });
    REQUIRE(longer);
    REQUIRE((*longer)->chain().size() == 2);
    REQUIRE((*longer)->chain()[1].pem == ca.own());
    REQUIRE((*longer)->roots().size() == 2);
    REQUIRE((*longer)->roots()[1].pem == second.root());
}

TEST_CASE("an answer with fewer than two elements has no root and is refused [CA-4]", "[credentials]") {
    const Ca ca;
    REQUIRE(answered(ca, [](auto& chain) { chain.pop_back(); }).error().reason == Reason::no_certificate);
    REQUIRE(answered(ca, [](auto& chain) { chain.clear(); }).error().reason == Reason::no_certificate);
    REQUIRE(answered(ca, [](auto& chain) { chain[1] = ""; }).error().reason == Reason::no_certificate);
}

TEST_CASE("a root that does not parse is passed over, a leaf that does not parse is refused [CA-4]",
          "[credentials]") {
    const Ca ca;
    const std::string broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const auto made =
        answered(ca, [&](auto& chain) { chain[1] = with_newlines({broken, chain[1], broken}); });
    REQUIRE(made);
    REQUIRE((*made)->roots().size() == 1);
    REQUIRE(answered(ca, [&](auto& chain) { chain[1] = broken; }).error().reason == Reason::no_certificate);
    REQUIRE(answered(ca, [&](auto& chain) { chain[0] = broken; }).error().reason == Reason::bad_input);
    REQUIRE(answered(ca, [&](auto& chain) { chain[0] = "nonsense"; }).error().reason == Reason::bad_input);
}

TEST_CASE("an answer for another identity or another key is refused [CA-5]", "[credentials]") {
    const Ca ca;
    PrivateKey key = PrivateKey::generate().value();
    const std::vector<std::string> for_bob{ca.sign_csr(make_csr(key, identity(bob)).value()), ca.root()};
    const auto other_name = Credential::from_response(std::move(key), for_bob, identity(alice), test_now);
    REQUIRE(other_name.error().reason == Reason::tls_identity);
    REQUIRE(other_name.error().text == std::string("asked the CA for ") + alice + ", got " + bob);
    Leaf leaf;
    leaf.uris = {alice};
    const auto other_key = answered(ca, [&](auto& chain) { chain[0] = ca.issue(leaf).chain; });
    REQUIRE(other_key.error().reason == Reason::bad_input);
    REQUIRE(other_key.error().text.find("the key does not belong to the certificate") == 0);
}

TEST_CASE("an answer that peers could not verify is refused here", "[credentials]") {
    const Ca ca, other("other");
    REQUIRE(answered(ca, [&](auto& chain) { chain[1] = other.root(); }).error().reason == Reason::bad_input);
    const Ca intermediate = ca.intermediate("one");
    REQUIRE(answered(intermediate, [](auto&) {}).error().reason ==
            Reason::bad_input);  // its certificate is missing
    Leaf leaf;
    leaf.uris = {alice};
    leaf.not_after = test_now - 1s;
    const auto old = ca.issue(leaf);
    REQUIRE(Credential::from_pem(old.key, old.chain, ca.root(), test_now).error().reason ==
            Reason::certificate_expired);
}

TEST_CASE("our own certificate must have one identity, too [S16]", "[credentials]") {
    const Ca ca;
    Leaf leaf;
    leaf.uris = {alice, bob};
    const auto two = ca.issue(leaf);
    REQUIRE(Credential::from_pem(two.key, two.chain, ca.root(), test_now).error().reason ==
            Reason::tls_identity);
}

TEST_CASE("a credential is renewed at half its life [CA-9]", "[credentials]") {
    const Ca ca;
    const auto made = ca.credential(alice);  // from one hour ago until tomorrow
    REQUIRE(made->not_before() == test_now - 1h);
    REQUIRE(made->not_after() == test_now + 24h);
    REQUIRE(made->refresh_at() == test_now - 1h + 12h + 30min);
}

TEST_CASE("roots are the same in any order, and not the same when one changes [S16]", "[credentials]") {
    const Ca one("one"), two("two");
    Leaf leaf;
    leaf.uris = {alice};
    const auto issued = one.issue(leaf);
    const auto digest = [&](const std::string& roots) {
        return Credential::from_pem(issued.key, issued.chain, roots, test_now).value()->roots_digest();
    };
    REQUIRE(digest(one.root() + two.root()) == digest(two.root() + one.root() + one.root()));
    REQUIRE(digest(one.root() + two.root()) != digest(one.root()));
}

TEST_CASE("what /config_dump shows of a certificate [A-5]", "[credentials]") {
    const Ca ca;
    const auto made = ca.credential(alice);
    const CertificateInfo& info = made->chain()[0];
    REQUIRE(info.pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    REQUIRE(info.pem.ends_with("-----END CERTIFICATE-----\n"));
    REQUIRE(info.serial.find_first_not_of("0123456789") == std::string::npos);
    REQUIRE(to_rfc3339(info.not_before) == "2026-03-01T11:00:00Z");
    REQUIRE(to_rfc3339(info.not_after) == "2026-03-02T12:00:00Z");
}

TEST_CASE("a certificate that never ends has a time that can be compared", "[credentials]") {
    const Ca ca;
    Leaf leaf;
    leaf.uris = {alice};
    leaf.not_after = WallTime::max();
    const auto issued = ca.issue(leaf);
    const auto certificate = std::move(parse_certificates(issued.chain, false).value()[0]);
    REQUIRE(ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate.get()), "99991231235959Z") == 1);
    REQUIRE(to_wall(X509_get0_notAfter(certificate.get())) > test_now + 24h * 365 * 200);
}

TEST_CASE("a peer's identity survives a hand-over", "[credentials]") {
    const PeerIdentity peer{identity(bob), "123456789012345678901234567890", test_now};
    Buffer state;
    Encoder to(state);
    peer.save(to);
    Decoder from(state);
    REQUIRE(PeerIdentity::load(from).value() == peer);
    for (std::size_t cut = 0; cut < state.size(); ++cut) {
        Decoder short_one(ConstBytes(state).first(cut));
        REQUIRE_FALSE(PeerIdentity::load(short_one));
    }
}

TEST_CASE("keys with a password, and texts without a key, are refused without asking anybody",
          "[credentials]") {
    const PrivateKey key = PrivateKey::generate().value();
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_256_cbc(), "secret", 6, nullptr, nullptr);
    REQUIRE(PrivateKey::from_pem(text_of(out.get())).error().reason == Reason::bad_input);
    REQUIRE(PrivateKey::from_pem("").error().reason == Reason::bad_input);
    REQUIRE(PrivateKey::from_pem(std::string(pem_max + 1, 'x')).error().reason == Reason::limit);
}

TEST_CASE("an RSA workload certificate works as well", "[credentials]") {
    const Ca ca;
    const PkeyPtr rsa(EVP_RSA_gen(2048));
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(out.get(), rsa.get(), nullptr, nullptr, 0, nullptr, nullptr);
    Leaf leaf;
    leaf.uris = {alice};
    leaf.key_pem = text_of(out.get());
    const auto issued = ca.issue(leaf);
    const auto made = Credential::from_pem(issued.key, issued.chain, ca.root(), test_now);
    REQUIRE(made);
    OpensslHandshakes maker;
    Pair pair = pair_of(maker, *made, ca.credential(bob));
    pair.run();
    REQUIRE((pair.client.done && pair.server.done));
}

TEST_CASE("too many certificates are a limit", "[credentials]") {
    const Ca ca;
    std::string many;
    for (std::size_t i = 0; i <= certificates_max; ++i) many += ca.root();
    REQUIRE(parse_certificates(many, true).error().reason == Reason::limit);
    Leaf leaf;
    leaf.uris = {alice};
    const auto issued = ca.issue(leaf);
    std::string deep = issued.chain;
    for (int i = 0; i < 9; ++i) deep += ca.root();
    REQUIRE(Credential::from_pem(issued.key, deep, ca.root(), test_now).error().reason == Reason::limit);
}

TEST_CASE("the simulator's handshake accepts and refuses as the real one does", "[handshake]") {
    SeededRandom random(1);
    culvert::test::GivenHandshakes maker(random);
    const auto a = Credential::given(identity(alice), test_now - 1h, test_now + 1h);
    const auto b = Credential::given(identity(bob), test_now - 1h, test_now + 1h);
    const auto stranger =
        Credential::given(identity("spiffe://other/ns/a/sa/alice"), test_now - 1h, test_now + 1h);
    for (const std::size_t cut : {std::size_t{1}, std::size_t{1000}}) {
        Pair good = pair_of(maker, a, b);
        good.run(cut);
        REQUIRE((good.client.done && good.server.done));
        Established client = good.client.handshake->take(), server = good.server.handshake->take();
        REQUIRE(client.peer.identity == identity(bob));
        REQUIRE(server.peer.identity == identity(alice));
        REQUIRE(std::ranges::equal(client.read.secret.reveal(), server.write.secret.reveal()));
        REQUIRE(std::ranges::equal(client.write.secret.reveal(), server.read.secret.reveal()));
        REQUIRE_FALSE(std::ranges::equal(client.write.secret.reveal(), client.read.secret.reveal()));

        Pair foreign = pair_of(maker, stranger, b);
        foreign.run(cut);
        REQUIRE(foreign.server.error.reason == Reason::tls_identity);
        REQUIRE(foreign.client.done);
        Opener in(foreign.client.handshake->take().read);
        REQUIRE(in.open(foreign.client.input).error().by_peer);

        Pair unexpected = pair_of(maker, a, b);
        unexpected.client.handshake = maker.client(a, {}, test_now);
        unexpected.run(cut);
        REQUIRE(unexpected.client.error.reason == Reason::tls_identity);
        REQUIRE(unexpected.server.error.reason == Reason::tls_alert);

        Pair late = pair_of(maker, a, b, test_now + 2h);
        late.run(cut);
        REQUIRE(late.client.error.reason == Reason::certificate_expired);
    }
}
