#include "lib/tls/token.h"

#include "lib/base/random.h"
#include "lib/tls/x509.h"
#include "test/support/pki.h"
#include "test/support/scratch.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <sys/stat.h>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::test;

namespace {

std::string token_of(const TokenKey& key, std::string_view node = "node-1") {
    return std::string(key.make(node, test_now)->reveal());
}

std::string base64url(std::string_view from) {
    std::string out(4 * (from.size() / 3 + 1) + 1, '\0');
    const int size =
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                        reinterpret_cast<const unsigned char*>(from.data()), static_cast<int>(from.size()));
    out.resize(static_cast<std::size_t>(size));
    std::ranges::replace(out, '+', '-');
    std::ranges::replace(out, '/', '_');
    out.erase(std::min(out.find('='), out.size()));
    return out;
}

std::string unbase64url(std::string from) {
    std::ranges::replace(from, '-', '+');
    std::ranges::replace(from, '_', '/');
    const std::size_t size = from.size() * 3 / 4;
    from.resize((from.size() + 3) / 4 * 4, '=');
    std::string out(from.size(), '\0');
    EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                    reinterpret_cast<const unsigned char*>(from.data()), static_cast<int>(from.size()));
    out.resize(size);
    return out;
}

struct Parts {
    std::string header, payload, signature;
    explicit Parts(const std::string& token) {
        const std::size_t first = token.find('.'), last = token.rfind('.');
        header = token.substr(0, first);
        payload = token.substr(first + 1, last - first - 1);
        signature = token.substr(last + 1);
    }
    std::string joined() const { return header + "." + payload + "." + signature; }
};

}  // namespace

TEST_CASE("a token names its node, for twelve hours", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    const std::string token = token_of(key);
    REQUIRE(key.verify(token, test_now).value() == "node-1");
    REQUIRE(key.verify(token, test_now + token_ttl).value() == "node-1");  // the clocks' leeway
    REQUIRE(key.verify(token, test_now + token_ttl + token_leeway).error().text == "the token has expired");
    REQUIRE(key.verify(token, test_now - token_leeway).value() == "node-1");
    REQUIRE(key.verify(token, test_now - token_leeway - 1s).error().text == "the token is not valid yet");
}

TEST_CASE("whose token it says to be can be read without its key, for messages", "[token]") {
    const Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path()).value();
    CHECK(node_of_unverified(token_of(key)) == "node-1");
    for (const char* other : {"", "a.b.c", "token", ".."}) CHECK_FALSE(node_of_unverified(other));
    CHECK_FALSE(node_of_unverified(
        "a." + base64url(R"({"sub":"system:serviceaccount:istio-system:ztunnel"})") + ".c"));
}

TEST_CASE("a token is a JWT that says what other libraries expect", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    const Parts parts(token_of(key));
    const std::string header = unbase64url(parts.header);
    REQUIRE(header.starts_with(R"({"alg":"ES256","kid":")"));
    REQUIRE(header.ends_with(R"(","typ":"JWT"})"));
    REQUIRE(unbase64url(parts.payload) ==
            R"({"aud":"istio-ca","exp":1772409600,"iat":1772366400,"nbf":1772366400,"sub":"node:node-1"})");
    REQUIRE(parts.signature.size() == 86);
}

TEST_CASE("the key survives restarts; another controller's token is told apart", "[token]") {
    Scratch scratch;
    const std::string token = token_of(TokenKey::open(scratch.path("state")).value());
    const TokenKey again = TokenKey::open(scratch.path("state")).value(),
                   other = TokenKey::open(scratch.path("other")).value();
    REQUIRE(again.verify(token, test_now));
    REQUIRE(other.verify(token, test_now).error().text ==
            "the token was not made with this controller's key");
    struct stat status{};
    REQUIRE(stat(scratch.path("state/token-key.pem").c_str(), &status) == 0);
    REQUIRE((status.st_mode & 07777) == 0600);
}

TEST_CASE("no other algorithm can be asked for", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    Parts parts(token_of(key));
    const Error refused{Reason::token_rejected, 0, "the token was not made with this controller's key"};
    Parts none = parts;
    none.header = base64url(R"({"alg":"none","typ":"JWT"})");
    none.signature = "";
    REQUIRE(key.verify(none.joined(), test_now).error() == refused);
    // HS256 with the public key as the secret: the classic confusion.
    Parts symmetric = parts;
    symmetric.header = base64url(R"({"alg":"HS256","typ":"JWT"})");
    const std::string text = symmetric.header + "." + symmetric.payload;
    std::array<unsigned char, 32> mac{};
    HMAC(EVP_sha256(), "public key", 10, reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         mac.data(), nullptr);
    symmetric.signature = base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
    REQUIRE(key.verify(symmetric.joined(), test_now).error() == refused);
    // Our header with a missing signature.
    parts.signature = "";
    REQUIRE(key.verify(parts.joined(), test_now).error().text == "the token's signature is wrong");
}

TEST_CASE("a changed character anywhere is refused", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    const std::string token = token_of(key);
    for (std::size_t at = 0; at < token.size(); ++at) {
        std::string bad = token;
        bad[at] = bad[at] == 'A' ? 'B' : 'A';
        CAPTURE(at);
        REQUIRE(key.verify(bad, test_now).error().reason == Reason::token_rejected);
        bad = token;
        bad.erase(at, 1);
        REQUIRE(key.verify(bad, test_now).error().reason == Reason::token_rejected);
        REQUIRE_FALSE(key.verify(token.substr(0, at), test_now));
    }
    REQUIRE_FALSE(key.verify(token + "A", test_now));
    REQUIRE_FALSE(key.verify(token + "=", test_now));
    REQUIRE_FALSE(key.verify(token + ".", test_now));
    REQUIRE_FALSE(key.verify("." + token, test_now));
}

TEST_CASE("a token of another node cannot be put together from two", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    Parts one(token_of(key, "node-1"));
    const Parts two(token_of(key, "node-2"));
    one.payload = two.payload;
    REQUIRE(key.verify(one.joined(), test_now).error().text == "the token's signature is wrong");
}

TEST_CASE("zero and huge signatures are refused", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    Parts parts(token_of(key));
    for (const char fill : {'\0', '\xff'}) {
        parts.signature = base64url(std::string(64, fill));
        REQUIRE(key.verify(parts.joined(), test_now).error().text == "the token's signature is wrong");
    }
}

TEST_CASE("a token's size is bounded, and noise is refused", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    REQUIRE(key.verify(std::string(token_max + 1, 'a'), test_now).error().text == "the token is too long");
    REQUIRE(key.verify("", test_now).error().text == "not a token of three parts");
    REQUIRE(key.verify("a.b", test_now).error().text == "not a token of three parts");
    SeededRandom random(4);
    for (int i = 0; i < 2000; ++i) {
        std::string noise(random.below(200), '\0');
        for (char& c : noise) c = random.below(9) == 0 ? '.' : static_cast<char>(random.next());
        REQUIRE(key.verify(noise, test_now).error().reason == Reason::token_rejected);
    }
}

TEST_CASE("names that are no node's get no token", "[token]") {
    Scratch scratch;
    const TokenKey key = TokenKey::open(scratch.path("state")).value();
    for (const std::string name : {"", "Node", "a b", "a\"", "a\",\"sub\":\"node:b", "a/b"}) {
        CAPTURE(name);
        REQUIRE(key.make(name, test_now).error().reason == Reason::bad_input);
    }
    REQUIRE_FALSE(key.make(std::string(node_name_max + 1, 'a'), test_now));
    const std::string longest(node_name_max, 'a');
    const std::string token = token_of(key, longest);
    REQUIRE(token.size() <= 700);
    REQUIRE(key.verify(token, test_now).value() == longest);
}

TEST_CASE("a key file of another kind is refused", "[token]") {
    Scratch scratch;
    (void)TokenKey::open(scratch.path("state")).value();
    std::ofstream(scratch.path("state/token-key.pem")) << "nonsense";
    REQUIRE(TokenKey::open(scratch.path("state")).error().reason == Reason::bad_configuration);
    const PkeyPtr other(EVP_EC_gen("P-384"));
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(out.get(), other.get(), nullptr, nullptr, 0, nullptr, nullptr);
    std::ofstream(scratch.path("state/token-key.pem")) << text_of(out.get());
    REQUIRE(TokenKey::open(scratch.path("state")).error().reason == Reason::bad_configuration);
}
