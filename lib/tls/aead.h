// AES-GCM behind exactly two functions, so that a faster one can take OpenSSL's place without anyone
// noticing: seal the concatenation of a scatter list, open in place. One object per direction and key; a
// cache, never state: it can always be made again from the TrafficKey. Lives on the loop of its link; costs
// about 1 KB while it exists.
#pragma once
#include "lib/tls/traffic_key.h"

#include <memory>
#include <span>

struct evp_cipher_ctx_st;

namespace culvert::tls {

constexpr std::size_t tag_size = 16;
using Nonce = std::array<std::byte, 12>;

class Aead {
public:
    enum class Use : std::uint8_t { seal, open };

    Aead() = default;  // has no key: neither function may be called
    Aead(Suite suite, const Secret& key, Use use);

    // Writes ciphertext and tag of `pieces` followed by `last` (TLS's inner content type) to the start of
    // `out`, which overlaps none of them and is that much longer. `header` is authenticated. Returns the
    // bytes written.
    std::size_t seal(const Nonce& nonce, ConstBytes header, std::span<const ConstBytes> pieces,
                     std::byte last, Bytes out);

    // Decrypts `text` (ciphertext, then tag; longer than the tag) in place; what it held before the tag is
    // then plaintext. False: it is not what the other side sealed, and `text` is garbage.
    [[nodiscard]] bool open(const Nonce& nonce, ConstBytes header, Bytes text);

    explicit operator bool() const { return context_ != nullptr; }
    void reset() { context_.reset(); }

private:
    struct Free {
        void operator()(evp_cipher_ctx_st* context) const;
    };
    std::unique_ptr<evp_cipher_ctx_st, Free> context_;
};

}  // namespace culvert::tls
