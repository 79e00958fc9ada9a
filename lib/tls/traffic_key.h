// One direction of a TLS 1.3 connection after the handshake, complete: suite, traffic secret, number of the
// next record. All else (AEAD key, IV, nonces) follows from it by RFC 8446 sections 5.3, 7.1 and 7.2, in this
// process or in another one. A value that is moved, never copied (S23: after a hand-over exactly one process
// can seal), zeroed when it goes.
#pragma once
#include "lib/base/result.h"
#include "lib/tls/secret.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace culvert::tls {

enum class Suite : std::uint8_t { aes_128_gcm_sha256, aes_256_gcm_sha384 };
std::string_view word(Suite suite);  // "TLS_AES_128_GCM_SHA256"

constexpr std::size_t secret_size(Suite suite) { return suite == Suite::aes_128_gcm_sha256 ? 32 : 48; }
constexpr std::size_t key_size(Suite suite) { return suite == Suite::aes_128_gcm_sha256 ? 16 : 32; }

struct TrafficKey {
    Suite suite = Suite::aes_128_gcm_sha256;
    Secret secret;               // secret_size(suite) bytes
    std::uint64_t sequence = 0;  // of the next record

    TrafficKey next() const;  // after a KeyUpdate: RFC 8446 7.2
    Secret key() const;       // for the AEAD
    std::array<std::byte, 12> iv() const;

    void save(Encoder& to) const;
    static Result<TrafficKey> load(Decoder& from);  // refuses with bad_input
};

}  // namespace culvert::tls
