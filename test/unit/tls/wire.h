// What the record tests share: sealing into fresh buffers, and feeding a wire in random cuts as TCP would.
#pragma once
#include "lib/base/random.h"
#include "lib/tls/records.h"

#include <algorithm>

namespace culvert::tls::test {

// The same key again: the product can only move one.
inline TrafficKey clone(const TrafficKey& key) {
    Buffer text;
    Encoder to(text);
    key.save(to);
    Decoder from(text);
    return TrafficKey::load(from).value();
}

inline TrafficKey some_key(Suite suite = Suite::aes_128_gcm_sha256, std::uint8_t salt = 0) {
    Secret secret(secret_size(suite));
    for (std::size_t i = 0; i < secret.size(); ++i) secret.writable()[i] = std::byte(i * 7 + salt);
    return {suite, std::move(secret), 0};
}

inline Buffer sealed(Sealer& out, ConstBytes text) {
    Buffer record(Sealer::bound(text.size()));
    record.resize(out.seal(text, record));
    return record;
}

inline Buffer alert(Sealer& out, Alert what) {
    Buffer record(alert_size);
    record.resize(out.alert(what, record));
    return record;
}

// What our Sealer never writes but a peer may: any content type, any padding. Made from the AEAD below it.
class Peer {
public:
    explicit Peer(TrafficKey key) : key_(std::move(key)) {}

    Buffer record(std::uint8_t type, ConstBytes text, std::size_t padding = 0) {
        Buffer inner(text.begin(), text.end());
        inner.push_back(std::byte{type});
        inner.resize(inner.size() + padding);
        Buffer out(header_size + inner.size() + tag_size);
        out[0] = std::byte{23};
        put_big_endian(&out[1], 0x0303, 2);
        put_big_endian(&out[3], inner.size() + tag_size, 2);
        Nonce nonce = key_.iv();
        for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] ^= std::byte(key_.sequence >> (56 - 8 * i));
        Aead aead(key_.suite, key_.key(), Aead::Use::seal);
        const ConstBytes piece = ConstBytes(inner).first(inner.size() - 1);
        aead.seal(nonce, ConstBytes(out).first(header_size), std::span(&piece, 1), inner.back(),
                  Bytes(out).subspan(header_size));
        ++key_.sequence;
        return out;
    }
    Buffer data(std::string_view text) { return record(23, as_bytes(text)); }
    Buffer handshake(ConstBytes text) { return record(22, text); }
    Buffer key_update(bool ask) {
        const std::array<std::byte, 5> message{std::byte{24}, std::byte{0}, std::byte{0}, std::byte{1},
                                               std::byte(ask ? 1 : 0)};
        Buffer out = record(22, message);
        key_ = key_.next();
        return out;
    }

private:
    TrafficKey key_;
};

inline void operator+=(Buffer& to, const Buffer& more) { append(to, more); }

struct Fed {
    Buffer text;
    unsigned asked = 0;
    bool closed = false;
};

// Feeds `wire` in cuts that `random` chooses, many of them tiny.
inline std::expected<Fed, Failure> feed(Opener& in, ConstBytes wire, Random& random) {
    Fed fed;
    Buffer pending;
    while (!wire.empty()) {
        std::size_t cut = 1 + random.below(std::min<std::size_t>(wire.size(), 40000));
        if (random.below(2) == 1) cut = std::min<std::size_t>(cut, 1 + random.below(7));
        append(pending, wire.first(cut));
        wire = wire.subspan(cut);
        std::size_t used = 0;
        while (used < pending.size()) {
            auto opened = in.open(Bytes(pending).subspan(used));
            if (!opened) return std::unexpected(opened.error());
            if (opened->kind == Opened::Kind::need_more) break;
            used += opened->used;
            append(fed.text, opened->plaintext);
            fed.asked += opened->key_update_asked ? 1 : 0;
            fed.closed = opened->kind == Opened::Kind::closed;
        }
        pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(used));
    }
    return fed;
}

}  // namespace culvert::tls::test
