// The record layer against a peer that has the key and says anything: the first byte chooses how the rest is
// read.
//   0: bytes as they come, an attacker without the key
//   1: inner records that a peer seals (type, padding, size, text), cut and handed over in between
//   2: a saved Opener, then records
#include "lib/base/check.h"
#include "test/unit/tls/wire.h"

#include <algorithm>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

// Feeds everything; nothing that comes out may break a promise of records.h.
void drain(Opener& in, Buffer wire) {
    std::size_t used = 0;
    unsigned without_data = 0;
    while (used < wire.size()) {
        const auto opened = in.open(Bytes(wire).subspan(used));
        if (!opened) {
            const auto again = in.open(Bytes(wire).subspan(used));
            check(!again && again.error() == opened.error());  // a failure is for good
            return;
        }
        if (opened->kind == Opened::Kind::need_more) return;
        check(opened->used > 0 && opened->used <= wire.size() - used);
        check((opened->kind == Opened::Kind::data) == !opened->plaintext.empty());
        check(opened->plaintext.size() <= plaintext_max);
        without_data = opened->kind == Opened::Kind::nothing ? without_data + 1 : 0;
        check(without_data <= records_without_data_max);
        used += opened->used;
    }
}

Opener handed_over(const Opener& from) {
    Buffer state;
    Encoder to(state);
    from.save(to);
    Decoder decoder(state);
    auto loaded = Opener::load(decoder);
    check(loaded.has_value() && decoder.at_end());
    return std::move(*loaded);
}

void with_the_key(ConstBytes script) {
    Peer peer(some_key());
    Opener in(some_key());
    while (script.size() >= 4) {
        const auto type = std::to_integer<std::uint8_t>(script[0]);
        const auto padding = std::to_integer<std::size_t>(script[1]);
        const std::size_t size = std::min<std::size_t>(get_big_endian(&script[2], 2), script.size() - 4);
        const ConstBytes text = script.subspan(4, size);
        script = script.subspan(4 + size);
        // A KeyUpdate in one piece makes the peer change its key as well, so that the play goes on.
        const bool update = type == 22 && size == 5 && text[0] == std::byte{24} && text[3] == std::byte{1};
        drain(in, update ? peer.key_update(text[4] == std::byte{1}) : peer.record(type, text, padding));
        if (padding % 3 == 0) in = handed_over(in);
        if (padding % 5 == 0) in.release();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const ConstBytes rest = std::as_bytes(std::span(data, size)).subspan(1);
    if (data[0] % 3 == 0) {
        Opener in(some_key());
        drain(in, Buffer(rest.begin(), rest.end()));
    } else if (data[0] % 3 == 1) {
        with_the_key(rest);
    } else {
        Decoder from(rest);
        auto loaded = Opener::load(from);
        if (!loaded) return 0;
        Opener same = handed_over(*loaded);
        Peer peer(some_key());
        drain(*loaded, peer.data("x"));
        drain(same, Peer(some_key()).data("x"));
    }
    return 0;
}
