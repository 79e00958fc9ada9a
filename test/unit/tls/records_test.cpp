#include "lib/tls/records.h"

#include "test/unit/tls/wire.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

Buffer noise(Random& random, std::size_t size) {
    Buffer out(size);
    for (std::byte& b : out) b = std::byte(random.next());
    return out;
}

std::expected<Fed, Failure> feed(Opener& in, ConstBytes wire) {
    SeededRandom random(1);
    return test::feed(in, wire, random);
}

Buffer ticket(std::size_t size) {
    Buffer message(4 + size);
    message[0] = std::byte{4};
    put_big_endian(&message[1], size, 3);
    return message;
}

// Both ends through save and load, as if another process had taken over.
template <class T> T reloaded(const T& from) {
    Buffer state;
    Encoder to(state);
    from.save(to);
    Decoder decoder(state);
    auto loaded = T::load(decoder);
    REQUIRE((loaded && decoder.at_end()));
    return std::move(*loaded);
}

}  // namespace

TEST_CASE("records survive every cut, merge, KeyUpdate, release and hand-over", "[records]") {
    const Suite suite = GENERATE(Suite::aes_128_gcm_sha256, Suite::aes_256_gcm_sha384);
    SeededRandom random(4711);
    Sealer out(some_key(suite));
    Opener in(some_key(suite));
    for (int round = 0; round < 100; ++round) {
        Buffer wire, expect;
        for (int i = 0; i < 20; ++i) {
            const Buffer text = noise(random, random.below(5) == 0 ? plaintext_max - random.below(3)  //
                                                                   : random.below(300));
            if (random.below(8) == 0) out.key_update_asked();
            wire += sealed(out, text);
            expect += text;
            if (random.below(9) == 0) out.release();
            if (random.below(9) == 0) in.release();
        }
        const auto fed = test::feed(in, wire, random);
        REQUIRE(fed);
        REQUIRE(fed->text == expect);
        REQUIRE(fed->asked == 0);  // we never ask a peer
        REQUIRE(in.sequence() == out.sequence());
        out = reloaded(out);
        in = reloaded(in);
    }
}

TEST_CASE("a scatter list is sealed as its concatenation", "[records]") {
    Sealer out(some_key()), same(some_key());
    const std::array<ConstBytes, 4> pieces{
        as_bytes("nine byte"), {}, as_bytes("s, then "), as_bytes("the payload")};
    Buffer record(Sealer::bound(28));
    record.resize(out.seal(pieces, record));
    REQUIRE(record == sealed(same, as_bytes("nine bytes, then the payload")));
    REQUIRE(record.size() == 28 + overhead);
}

TEST_CASE("seal writes no byte beyond what it says and no more than bound()", "[records]") {
    Sealer out(some_key());
    out.key_update_asked();
    const Buffer text(100, std::byte{'x'});
    Buffer room(Sealer::bound(text.size()) + 8, std::byte{0xee});
    const std::size_t size = out.seal(text, Bytes(room).first(Sealer::bound(text.size())));
    REQUIRE(size == Sealer::bound(text.size()));
    REQUIRE(std::all_of(room.end() - 8, room.end(), [](std::byte b) { return b == std::byte{0xee}; }));
}

TEST_CASE("a used-up key replaces itself before the next record", "[records]") {
    Sealer out(some_key());
    Opener in(some_key());
    out.set_limit_for_test(2);
    Buffer wire;
    for (int i = 0; i < 5; ++i) wire += sealed(out, as_bytes("tick"));
    REQUIRE(feed(in, wire)->text.size() == 20);
    REQUIRE(out.sequence() == 1);  // two keys of two records, then the third
    REQUIRE(in.sequence() == 1);
}

TEST_CASE("however often a peer asks, one KeyUpdate is owed, and only data sends it [S19]", "[records]") {
    Sealer out(some_key());
    for (int i = 0; i < 1000; ++i) out.key_update_asked();
    REQUIRE(sealed(out, as_bytes("x")).size() == 1 + overhead + key_update_size);
    REQUIRE(sealed(out, as_bytes("x")).size() == 1 + overhead);
    out.key_update_asked();
    REQUIRE(alert(out, Alert::close_notify).size() == alert_size);
}

TEST_CASE("what is owed survives a hand-over", "[records]") {
    Sealer out(some_key());
    out.key_update_asked();
    Sealer later = reloaded(out);
    REQUIRE(sealed(later, as_bytes("x")).size() == 1 + overhead + key_update_size);
}

TEST_CASE("a peer's KeyUpdates change the key at once and say whether one is asked", "[records]") {
    Peer peer(some_key());
    Opener in(some_key());
    Buffer wire = peer.data("before ");
    wire += peer.key_update(true);
    wire += peer.data("between ");
    wire += peer.key_update(false);
    wire += peer.data("after");
    const auto fed = feed(in, wire);
    REQUIRE(as_text(fed->text) == "before between after");
    REQUIRE(fed->asked == 1);
}

TEST_CASE("KeyUpdates, tickets and empty records in a row without data end the connection [S19]",
          "[records]") {
    const int kind = GENERATE(0, 1, 2, 3);
    Peer peer(some_key());
    Opener in(some_key());
    const auto fruitless = [&] {
        switch (kind) {
        case 0: return peer.key_update(true);
        case 1: return peer.handshake(ticket(20));
        case 2: return peer.record(21, Buffer{std::byte{1}, std::byte{90}});  // user_canceled
        default: return peer.data("");
        }
    };
    Buffer wire;
    for (unsigned i = 0; i < records_without_data_max; ++i) wire += fruitless();
    wire += peer.data("patience is back");
    for (unsigned i = 0; i < records_without_data_max; ++i) wire += fruitless();
    REQUIRE(feed(in, wire)->text.size() == 16);
    REQUIRE(feed(in, fruitless()).error() == Failure{Alert::unexpected_message, false});
}

TEST_CASE("session tickets are counted and dropped wherever they are cut [H-7]", "[records]") {
    SeededRandom random(8);
    Peer peer(some_key());
    Opener in(some_key());
    Buffer two = ticket(700);
    two += ticket(0);
    two += ticket(65000);
    Buffer wire;
    for (std::size_t at = 0; at < two.size();) {
        const std::size_t cut = std::min<std::size_t>(two.size() - at, at < 20 ? 1 : 1 + random.below(16000));
        wire += peer.handshake(ConstBytes(two).subspan(at, cut));
        at += cut;
    }
    wire += peer.data("after");
    const auto fed = test::feed(in, wire, random);
    REQUIRE(fed);
    REQUIRE(as_text(fed->text) == "after");
    REQUIRE(in.messages_dropped() == 3);
}

TEST_CASE("an opener cut inside a handshake message goes on in another process", "[records]") {
    Peer peer(some_key());
    Opener in(some_key());
    Buffer message = ticket(9);
    message += Buffer{std::byte{24}, std::byte{0}, std::byte{0}, std::byte{1}, std::byte{1}};
    for (std::size_t at = 0; at < message.size(); ++at) {
        const Buffer record = peer.handshake(ConstBytes(message).subspan(at, 1));
        const auto fed = feed(in, record);
        REQUIRE(fed);
        REQUIRE(fed->asked == (at + 1 == message.size() ? 1 : 0));
        in = reloaded(in);
    }
    REQUIRE(in.messages_dropped() == 1);
}

TEST_CASE("close_notify ends the stream and what follows is ignored", "[records]") {
    Sealer out(some_key());
    Opener in(some_key());
    Buffer wire = sealed(out, as_bytes("last words"));
    wire += alert(out, Alert::close_notify);
    wire += Buffer(100, std::byte{'!'});
    const auto fed = feed(in, wire);
    REQUIRE(as_text(fed->text) == "last words");
    REQUIRE(fed->closed);
    in = reloaded(in);
    Buffer more(3);
    REQUIRE(in.open(more)->kind == Opened::Kind::closed);
    REQUIRE(in.open(more)->used == 3);
}

TEST_CASE("a peer's alert is a failure that names itself, at any level, for good", "[records]") {
    const std::uint8_t level = GENERATE(std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{77});
    Peer peer(some_key());
    Opener in(some_key());
    const Failure expected{Alert{116}, true};  // certificate_required
    REQUIRE(feed(in, peer.record(21, Buffer{std::byte{level}, std::byte{116}})).error() == expected);
    in = reloaded(in);
    REQUIRE(feed(in, peer.data("x")).error() == expected);
    REQUIRE(expected.to_error() == Error{Reason::tls_alert, 116, {}});
    REQUIRE(Failure{Alert::decode_error, false}.to_error() == Error{Reason::tls_record, 50, {}});
}

TEST_CASE("any flipped bit of a record is refused, and refused for good", "[records]") {
    const std::size_t size = 19 + overhead;
    for (std::size_t bit = 0; bit < 8 * size; ++bit) {
        Sealer out(some_key());
        Opener in(some_key());
        Buffer wire = sealed(out, as_bytes("eighteen bytes long"));
        REQUIRE(wire.size() == size);
        wire[bit / 8] ^= std::byte(1 << bit % 8);
        wire.resize(header_size + 0x10000);  // a longer length field finds bytes
        const auto opened = in.open(wire);
        CAPTURE(bit);
        REQUIRE_FALSE(opened);
        REQUIRE_FALSE(opened.error().by_peer);
        Sealer again(some_key());
        Buffer right = sealed(again, as_bytes("eighteen bytes long"));
        REQUIRE(in.open(right).error() == opened.error());
    }
}

TEST_CASE("replayed, reordered and foreign records are refused", "[records]") {
    Sealer out(some_key());
    Buffer first = sealed(out, as_bytes("1")), second = sealed(out, as_bytes("2"));
    {
        Opener in(some_key());
        Buffer copy = second;
        REQUIRE(in.open(copy).error().alert == Alert::bad_record_mac);
    }
    {
        Opener in(some_key());
        Buffer copy = first;
        REQUIRE(in.open(copy));
        REQUIRE(in.open(first).error().alert == Alert::bad_record_mac);
    }
    Opener other(some_key(Suite::aes_128_gcm_sha256, 1));
    REQUIRE(other.open(second).error().alert == Alert::bad_record_mac);
}

TEST_CASE("a wrong header is refused before its body comes", "[records]") {
    const auto refused = [](std::initializer_list<int> bytes) {
        Buffer header;
        for (int b : bytes) header.push_back(std::byte(b));
        Opener in(some_key());
        return in.open(header).error().alert;
    };
    REQUIRE(refused({22}) == Alert::unexpected_message);                    // unprotected handshake
    REQUIRE(refused({20, 3, 3, 0, 1, 1}) == Alert::unexpected_message);     // late change_cipher_spec
    REQUIRE(refused({21, 3, 3, 0, 2, 1, 0}) == Alert::unexpected_message);  // unprotected close_notify
    REQUIRE(refused({'G', 'E', 'T', ' '}) == Alert::unexpected_message);    // not TLS at all
    REQUIRE(refused({23, 3, 3, 0x41, 0x01}) == Alert::record_overflow);
    REQUIRE(refused({23, 3, 3, 0, 16}) == Alert::bad_record_mac);  // no room for a content type
    REQUIRE(refused({23, 3, 3, 0, 0}) == Alert::bad_record_mac);
}

TEST_CASE("padding is taken off, and only padding is no message", "[records]") {
    Peer peer(some_key());
    Opener in(some_key());
    Buffer wire = peer.record(23, as_bytes("padded"), 500);
    wire += peer.record(23, Buffer(plaintext_max), 0);
    wire += peer.record(23, Buffer(100), plaintext_max - 100);
    REQUIRE(feed(in, wire)->text.size() == 6 + plaintext_max + 100);
    REQUIRE(feed(in, peer.record(0, {}, 10)).error().alert == Alert::unexpected_message);
}

TEST_CASE("an inner plaintext beyond 2^14 + 1 bytes is refused, padding or not", "[records]") {
    const std::size_t padding = GENERATE(std::size_t{0}, std::size_t{1000});
    Peer peer(some_key());
    Opener in(some_key());
    REQUIRE(feed(in, peer.record(23, Buffer(plaintext_max + 1 - padding), padding)).error().alert ==
            Alert::record_overflow);
}

TEST_CASE("what may not come after the handshake is refused", "[records]") {
    struct Row {
        const char* what;
        std::vector<std::pair<int, std::vector<int>>> records;
        Alert alert;
    };
    const std::vector<Row> rows{
        {"an empty handshake record", {{22, {}}}, Alert::unexpected_message},
        {"a post-handshake ClientHello", {{22, {1, 0, 0, 2, 0, 0}}}, Alert::unexpected_message},
        {"a CertificateRequest", {{22, {13, 0, 0, 1}}}, Alert::unexpected_message},
        {"a KeyUpdate of the wrong size", {{22, {24, 0, 0, 2, 0, 0}}}, Alert::decode_error},
        {"a KeyUpdate that says 2", {{22, {24, 0, 0, 1, 2}}}, Alert::illegal_parameter},
        {"a KeyUpdate that does not end its record", {{22, {24, 0, 0, 1, 0, 24}}}, Alert::unexpected_message},
        {"a huge ticket", {{22, {4, 1, 0, 1}}}, Alert::decode_error},
        {"data between the halves of a message", {{22, {24, 0}}, {23, {'x'}}}, Alert::unexpected_message},
        {"an alert between the halves of a message", {{22, {4, 0}}, {21, {1, 0}}}, Alert::unexpected_message},
        {"an alert of one byte", {{21, {1}}}, Alert::decode_error},
        {"two alerts in a record", {{21, {1, 0, 1, 0}}}, Alert::decode_error},
        {"a protected change_cipher_spec", {{20, {1}}}, Alert::unexpected_message},
        {"an unknown content type", {{99, {1}}}, Alert::unexpected_message},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Peer peer(some_key());
        Opener in(some_key());
        Buffer wire;
        for (const auto& [type, bytes] : row.records) {
            Buffer text;
            for (int b : bytes) text.push_back(std::byte(b));
            wire += peer.record(static_cast<std::uint8_t>(type), text);
        }
        REQUIRE(feed(in, wire).error() == Failure{row.alert, false});
    }
}

TEST_CASE("a saved direction that is cut or altered loads as itself or not at all", "[records]") {
    Buffer state;
    Encoder to(state);
    Opener(some_key(Suite::aes_256_gcm_sha384)).save(to);
    REQUIRE(state.size() < 100);
    for (std::size_t cut = 0; cut < state.size(); ++cut) {
        Decoder from(ConstBytes(state).first(cut));
        REQUIRE(Opener::load(from).error().reason == Reason::bad_input);
    }
    SeededRandom random(3);
    for (int i = 0; i < 20000; ++i) {
        Buffer bad = state;
        for (std::uint64_t n = 1 + random.below(3); n > 0; --n)
            bad[random.below(bad.size())] = std::byte(random.next());
        Decoder from(bad);
        auto loaded = Opener::load(from);
        if (!loaded) continue;
        Peer peer(some_key());
        (void)feed(*loaded, peer.data("must not crash"));
    }
}

TEST_CASE("noise never crashes an opener", "[records]") {
    SeededRandom random(99);
    for (int i = 0; i < 3000; ++i) {
        Opener in(some_key());
        Buffer wire = noise(random, random.below(200));
        if (wire.size() > 5 && random.below(2) == 1) {
            wire[0] = std::byte{23};
            put_big_endian(&wire[3], random.below(60), 2);
        }
        const auto fed = test::feed(in, wire, random);
        REQUIRE((!fed || fed->text.empty()));
    }
}

TEST_CASE("keys are moved, never copied, and nothing is left behind [S23]", "[records]") {
    static_assert(!std::is_copy_constructible_v<TrafficKey> && !std::is_copy_assignable_v<TrafficKey>);
    static_assert(!std::is_copy_constructible_v<Sealer> && !std::is_copy_constructible_v<Opener>);
    static_assert(std::is_nothrow_move_constructible_v<Secret>);
    TrafficKey key = some_key();
    TrafficKey other = std::move(key);
    REQUIRE(key.secret.size() == 0);
    REQUIRE(other.secret.size() == 32);
    const std::byte* at = other.secret.reveal().data();
    other.secret.wipe();
    REQUIRE(std::all_of(at, at + 32, [](std::byte b) { return b == std::byte{0}; }));
    SecretText short_text{std::string("short")};
    SecretText taken = std::move(short_text);
    REQUIRE((short_text.empty() && taken.reveal() == "short"));
}
