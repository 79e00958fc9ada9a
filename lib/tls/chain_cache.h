// Certificates that verified against given roots a while ago: the same pods dial each other again and again,
// and checking the CA's signature once more costs as much as the peer's own. Holds no secret and decides
// nothing: an entry says "this leaf, byte for byte, chained to exactly these roots for this use, and each
// link of that chain is in force between these times".
//
// One per loop, inside OpensslHandshakes. Fixed size: a slot by the first byte of a SHA-256, the newer entry
// wins, so a peer who shows many certificates costs others a signature check, never memory.
#pragma once
#include "lib/base/clock.h"

#include <array>
#include <cstddef>

namespace culvert::tls {

class ChainCache {
public:
    using Key = std::array<std::byte, 32>;  // SHA-256 over use, roots and leaf
    struct Window {
        WallTime not_before{};
        WallTime not_after{};  // the first moment at which it no longer counts, as OpenSSL has it
    };

    bool holds(const Key& key, WallTime now) const {
        const Slot& slot = slot_[std::to_integer<std::size_t>(key[0])];
        return slot.used && slot.key == key && slot.window.not_before <= now && now < slot.window.not_after;
    }
    void add(const Key& key, Window window) {
        slot_[std::to_integer<std::size_t>(key[0])] = {true, key, window};
    }

private:
    struct Slot {
        bool used = false;
        Key key{};
        Window window;
    };
    std::array<Slot, 256> slot_;
};

}  // namespace culvert::tls
