#include "lib/tls/token.h"

#include "lib/base/check.h"
#include "lib/tls/state_directory.h"
#include "lib/tls/x509.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <openssl/ec.h>
#include <optional>

namespace culvert::tls {
namespace {

constexpr auto key_file = "token-key.pem";
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t number_size = 32;  // of r and of s (RFC 7518 3.4)

using MdContextPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using SignaturePtr = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;

// base64url without padding: RFC 7515 appendix C.
std::string encode(ConstBytes from) {
    std::string out;
    unsigned held = 0, bits = 0;
    for (std::byte b : from) {
        held = held << 8 | std::to_integer<unsigned>(b);
        for (bits += 8; bits >= 6; bits -= 6) out += alphabet[held >> (bits - 6) & 63];
    }
    if (bits > 0) out += alphabet[held << (6 - bits) & 63];
    return out;
}

// Exactly what encode() makes: one text for each value.
std::optional<Buffer> decode(std::string_view from) {
    Buffer out;
    unsigned held = 0, bits = 0;
    for (char c : from) {
        const std::size_t digit = alphabet.find(c);
        if (digit == alphabet.npos) return std::nullopt;
        held = held << 6 | static_cast<unsigned>(digit);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out.push_back(std::byte(held >> bits));
        }
    }
    if (bits >= 6 || (held & ((1u << bits) - 1)) != 0) return std::nullopt;
    return out;
}

// A Kubernetes object name: also all that may stand in our payload without escapes.
bool is_node_name(std::string_view name) {
    return !name.empty() && name.size() <= node_name_max && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    });
}

std::int64_t seconds(WallTime at) {
    return std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
}

struct Claims {
    std::int64_t expires = 0, issued = 0, not_before = 0;
    std::string_view node;
};

std::string to_json(const Claims& claims) {
    return fmt::format(R"({{"aud":"istio-ca","exp":{},"iat":{},"nbf":{},"sub":"node:{}"}})", claims.expires,
                       claims.issued, claims.not_before, claims.node);
}

// Reads to_json()'s form. Only called with what our own key has signed.
class Scanner {
public:
    explicit Scanner(std::string_view text) : rest_(text) {}
    void expect(std::string_view text) {
        ok_ = ok_ && rest_.starts_with(text);
        if (ok_) rest_.remove_prefix(text.size());
    }
    std::int64_t number() {
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
        ok_ = ok_ && error == std::errc{} && value >= 0;
        if (ok_) rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
        return value;
    }
    std::string_view until(char stop) {
        const std::size_t end = std::min(rest_.find(stop), rest_.size());
        const std::string_view value = rest_.substr(0, end);
        rest_.remove_prefix(end);
        return value;
    }
    bool ok() const { return ok_; }
    bool at_end() const { return rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

std::optional<Claims> from_json(std::string_view text) {
    Scanner in(text);
    Claims claims;
    in.expect(R"({"aud":"istio-ca","exp":)");
    claims.expires = in.number();
    in.expect(R"(,"iat":)");
    claims.issued = in.number();
    in.expect(R"(,"nbf":)");
    claims.not_before = in.number();
    in.expect(R"(,"sub":"node:)");
    claims.node = in.until('"');
    in.expect("\"}");
    if (!in.ok() || !in.at_end() || !is_node_name(claims.node)) return std::nullopt;
    return claims;
}

// r and s, 32 bytes each, instead of DER.
std::optional<Buffer> sign(EVP_PKEY* key, std::string_view text) {
    const MdContextPtr context(EVP_MD_CTX_new());
    std::array<unsigned char, 80> der{};  // at most 72 for P-256
    std::size_t size = der.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
        EVP_DigestSign(context.get(), der.data(), &size, reinterpret_cast<const unsigned char*>(text.data()),
                       text.size()) != 1) {
        return std::nullopt;
    }
    const unsigned char* at = der.data();
    const SignaturePtr signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
    Buffer out(2 * number_size);
    const bool fits =
        signature &&
        BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw(out.data()), number_size) == number_size &&
        BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw(out.data() + number_size), number_size) ==
            number_size;
    if (!fits) return std::nullopt;
    return out;
}

bool verify_signature(EVP_PKEY* key, std::string_view text, ConstBytes numbers) {
    if (numbers.size() != 2 * number_size) return false;
    const SignaturePtr signature(ECDSA_SIG_new());
    ECDSA_SIG_set0(signature.get(), BN_bin2bn(raw(numbers.data()), number_size, nullptr),
                   BN_bin2bn(raw(numbers.data() + number_size), number_size, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(signature.get(), &der);
    const MdContextPtr context(EVP_MD_CTX_new());
    const bool good = size > 0 &&
                      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                      EVP_DigestVerify(context.get(), der, static_cast<std::size_t>(size),
                                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    OPENSSL_free(der);
    (void)openssl_error();
    return good;
}

// Names the key, so that a token of another controller is told from a forged one.
std::string header_of(EVP_PKEY* key) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key, &der);
    check(size > 0);
    std::array<std::byte, 32> digest{};
    EVP_Digest(der, static_cast<std::size_t>(size), raw(digest.data()), nullptr, EVP_sha256(), nullptr);
    OPENSSL_free(der);
    const std::string json = fmt::format(R"({{"alg":"ES256","kid":"{}","typ":"JWT"}})", encode(digest));
    return encode(as_bytes(json));
}

std::unexpected<Error> rejected(const char* why) { return refuse(Reason::token_rejected, std::string(why)); }

}  // namespace

std::optional<std::string> node_of_unverified(std::string_view token) {
    constexpr std::string_view before = R"("sub":"node:)";
    const std::size_t first = token.find('.'),
                      second = token.find('.', first == token.npos ? first : first + 1);
    if (token.size() > token_max || second == token.npos) return std::nullopt;
    const auto payload = decode(token.substr(first + 1, second - first - 1));
    if (!payload) return std::nullopt;
    std::string_view text(reinterpret_cast<const char*>(payload->data()), payload->size());
    const std::size_t at = text.find(before);
    if (at == text.npos) return std::nullopt;
    text.remove_prefix(at + before.size());
    const std::string_view node = text.substr(0, text.find('"'));
    return is_node_name(node) ? std::optional(std::string(node)) : std::nullopt;
}

TokenKey::TokenKey(PrivateKey key, std::string header) : key_(std::move(key)), header_(std::move(header)) {}

Result<TokenKey> TokenKey::open(const std::string& directory) {
    TRY(StateDirectory state, StateDirectory::open(directory));
    TRY(std::optional<SecretText> text, state.read(key_file, true));
    auto key = text ? PrivateKey::from_pem(text->reveal()) : PrivateKey::generate();
    if (!key) return refuse(Reason::bad_configuration, state.path_of(key_file) + ": " + key.error().text);
    std::array<char, 32> group{};
    if (EVP_PKEY_get_utf8_string_param(key->get(), "group", group.data(), group.size(), nullptr) != 1 ||
        std::string_view(group.data()) != "prime256v1") {
        (void)openssl_error();
        return refuse(Reason::bad_configuration,
                      state.path_of(key_file) + " is not a P-256 key: remove it to get a new one");
    }
    if (!text) {
        TRY_DONE(state.write(key_file, key->to_pem().reveal(), true));
    }
    std::string header = header_of(key->get());
    return TokenKey(*std::move(key), std::move(header));
}

Result<SecretText> TokenKey::make(std::string_view node, WallTime now, std::chrono::seconds ttl) const {
    if (!is_node_name(node)) return refuse(Reason::bad_input, fmt::format("'{}' is no name of a node", node));
    const Claims claims{seconds(now + ttl), seconds(now), seconds(now), node};
    std::string text = header_ + "." + encode(as_bytes(to_json(claims)));
    const auto signature = sign(key_.get(), text);
    if (!signature) return refuse(Reason::internal, "token not signed: " + openssl_error());
    text += "." + encode(*signature);
    return SecretText(std::move(text));
}

Result<NodeClaim> TokenKey::claim(std::string_view token, WallTime now) const {
    if (token.size() > token_max) return rejected("the token is too long");
    const std::size_t first = token.find('.'), last = token.rfind('.');
    if (first == token.npos || first == last) return rejected("not a token of three parts");
    // Our header and no other: neither "none" nor a symmetric algorithm can be asked for, and the key is
    // named.
    if (token.substr(0, first) != header_)
        return rejected("the token was not made with this controller's key");
    const auto signature = decode(token.substr(last + 1));
    if (!signature || !verify_signature(key_.get(), token.substr(0, last), *signature)) {
        return rejected("the token's signature is wrong");
    }
    const auto payload = decode(token.substr(first + 1, last - first - 1));
    const auto claims = payload ? from_json(as_text(*payload)) : std::nullopt;
    if (!claims) return rejected("the token says something else than a node's name");
    const std::int64_t at = seconds(now), leeway = token_leeway.count();
    if (claims->not_before > at + leeway || claims->issued > at + leeway)
        return rejected("the token is not valid yet");
    if (claims->expires <= at - leeway) return rejected("the token has expired");
    return NodeClaim{std::string(claims->node),
                     WallTime(std::chrono::seconds(claims->expires) + token_leeway)};
}

Result<std::string> TokenKey::verify(std::string_view token, WallTime now) const {
    TRY(NodeClaim claimed, claim(token, now));
    return std::move(claimed.node);
}

}  // namespace culvert::tls
