#include "lib/tls/traffic_key.h"

#include "lib/base/check.h"

#include <algorithm>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace culvert::tls {
namespace {

// HKDF-Expand-Label with an empty context (RFC 8446 7.1). Each output that we need is at most one hash long,
// so HKDF-Expand is its first block: one HMAC over the label and the counter 1.
Secret expand_label(const TrafficKey& from, std::string_view label, std::size_t size) {
    constexpr std::string_view prefix = "tls13 ";
    std::array<std::byte, 32> info{};  // the longest, "traffic upd", takes 22
    put_big_endian(&info[0], size, 2);
    put_big_endian(&info[2], prefix.size() + label.size(), 1);
    std::memcpy(&info[3], prefix.data(), prefix.size());
    std::memcpy(&info[3 + prefix.size()], label.data(), label.size());
    const std::size_t context_at = 3 + prefix.size() + label.size();
    info[context_at] = std::byte{0};      // no context
    info[context_at + 1] = std::byte{1};  // the first block

    const EVP_MD* hash = from.suite == Suite::aes_128_gcm_sha256 ? EVP_sha256() : EVP_sha384();
    const ConstBytes secret = from.secret.reveal();
    check(secret.size() == secret_size(from.suite));
    Secret block(static_cast<std::size_t>(EVP_MD_get_size(hash)));
    check(HMAC(hash, secret.data(), static_cast<int>(secret.size()), raw(info.data()), context_at + 2,
               raw(block.writable().data()), nullptr) != nullptr);
    check(size <= block.size());
    return Secret(block.reveal().first(size));
}

}  // namespace

std::string_view word(Suite suite) {
    return suite == Suite::aes_128_gcm_sha256 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384";
}

TrafficKey TrafficKey::next() const {
    return {suite, expand_label(*this, "traffic upd", secret_size(suite)), 0};
}

Secret TrafficKey::key() const { return expand_label(*this, "key", key_size(suite)); }

std::array<std::byte, 12> TrafficKey::iv() const {
    std::array<std::byte, 12> out{};
    std::ranges::copy(expand_label(*this, "iv", out.size()).reveal(), out.begin());
    return out;
}

void TrafficKey::save(Encoder& to) const {
    to.number(suite);
    to.bytes(secret.reveal());
    to.number(sequence);
}

Result<TrafficKey> TrafficKey::load(Decoder& from) {
    const auto suite = from.number<Suite>();
    const ConstBytes secret = from.bytes();
    const auto sequence = from.number<std::uint64_t>();
    if (!from.ok() || suite > Suite::aes_256_gcm_sha384 || secret.size() != secret_size(suite)) {
        return refuse(Reason::bad_input);
    }
    return TrafficKey{suite, Secret(secret), sequence};
}

}  // namespace culvert::tls
