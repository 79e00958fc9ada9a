// TLS 1.3 record protection after the handshake (RFC 8446 section 5), sans I/O. OpenSSL shakes hands
// (handshake.h); from then on a link is two independent directions, each a TrafficKey plus a few numbers: a
// value that can be saved in one process and loaded in another, at any record boundary.
//
// Owned by one link, on one loop. Limits (docs/limits.md): a record carries at most plaintext_max bytes; a
// key seals records_per_key records and then replaces itself; at most records_without_data_max records in a
// row may bring no application data (KeyUpdates, tickets, empty records). Nothing that a peer sends is ever
// more than a Failure, and after a Failure or a close_notify an Opener opens nothing any more.
#pragma once
#include "lib/tls/aead.h"

#include <expected>
#include <span>

namespace culvert::tls {

enum class ContentType : std::uint8_t {
    change_cipher_spec = 20,
    alert = 21,
    handshake = 22,
    application_data = 23
};

// RFC 8446 section 6. A peer may send others: the number counts.
enum class Alert : std::uint8_t {
    close_notify = 0,
    unexpected_message = 10,
    bad_record_mac = 20,
    record_overflow = 22,
    illegal_parameter = 47,
    decode_error = 50,
    internal_error = 80,
    user_canceled = 90,
};

constexpr std::size_t header_size = 5;
constexpr std::size_t plaintext_max = 16384;
constexpr std::size_t overhead = header_size + 1 + tag_size;  // one byte says the inner content type
constexpr std::size_t key_update_size = overhead + 5;         // a KeyUpdate message in its record
constexpr std::size_t alert_size = overhead + 2;
constexpr std::size_t ciphertext_max = plaintext_max + 256;  // RFC 8446 5.2: what may stand behind the header
constexpr std::uint64_t records_per_key = std::uint64_t{1} << 24;  // RFC 8446 5.5 allows 2^24.5 full records
constexpr unsigned records_without_data_max = 32;
constexpr std::size_t message_max = std::size_t{1} << 16;  // a post-handshake message that is skipped

// Bytes that the first record of `input` needs in all; header_size while even that is not there.
std::size_t record_size(ConstBytes input);

class Sealer {
public:
    explicit Sealer(TrafficKey key) : key_(std::move(key)) {}

    // What seal() may write for so many bytes of plaintext: the record, and a KeyUpdate before it.
    static constexpr std::size_t bound(std::size_t plaintext) {
        return plaintext + overhead + key_update_size;
    }

    // Seals the concatenation of `pieces` (at most plaintext_max bytes) as one record of application data at
    // the start of `out`, which overlaps none of them and has bound() bytes. A KeyUpdate goes first when the
    // key is used up or the peer asked for one. Returns the bytes written.
    std::size_t seal(std::span<const ConstBytes> pieces, Bytes out);
    std::size_t seal(ConstBytes plaintext, Bytes out) { return seal(std::span(&plaintext, 1), out); }

    // An alert record; `out` has bound(2) bytes. close_notify is the clean end of what we say; all others are
    // fatal.
    std::size_t alert(Alert alert, Bytes out);

    // The peer asked for our KeyUpdate: it goes before our next data (RFC 8446 4.6.3). However often it asks,
    // one is owed (S19), and nothing is sent before there is data. We never ask in turn: Go peers answer only
    // when they write.
    void key_update_asked() { answer_owed_ = true; }

    // An idle link keeps only the value; the next record derives the rest again.
    void release() { aead_.reset(); }
    void wipe();  // S23: this process never seals again; sealing afterwards is a bug
    std::uint64_t sequence() const { return key_.sequence; }
    Suite suite() const { return key_.suite; }
    void set_limit_for_test(std::uint64_t records) { limit_ = records; }

    void save(Encoder& to) const;
    static Result<Sealer> load(Decoder& from);  // refuses with bad_input

private:
    std::size_t seal_one(ContentType type, std::span<const ConstBytes> pieces, Bytes out);
    std::size_t key_update(Bytes out);

    TrafficKey key_;
    Aead aead_;
    Nonce iv_{};
    std::uint64_t limit_ = records_per_key;
    bool answer_owed_ = false;
};

// What one record turned out to be. The first `used` bytes of the input are done with, whatever it was.
struct Opened {
    enum class Kind : std::uint8_t {
        need_more,  // the record is not complete; used is 0
        data,       // `plaintext`, never empty
        nothing,    // it said something to this layer only
        closed,     // close_notify: the clean end of what the peer says; the whole input is used
    };
    Kind kind = Kind::need_more;
    std::size_t used = 0;
    Bytes plaintext;                // inside the input, decrypted in place
    bool key_update_asked = false;  // tell the Sealer
};

// Why a direction ended. Ours: `alert` is to be sent, then the connection is closed. The peer's: nothing is
// sent.
struct Failure {
    Alert alert{};
    bool by_peer = false;
    Error to_error() const;  // tls_alert or tls_record, detail: the alert
    bool operator==(const Failure&) const = default;
};

class Opener {
public:
    explicit Opener(TrafficKey key) : key_(std::move(key)) {}

    // Opens the first record of `input`, which starts at a record boundary.
    std::expected<Opened, Failure> open(Bytes input);

    void release() { aead_.reset(); }
    void wipe();
    std::uint64_t sequence() const { return key_.sequence; }
    Suite suite() const { return key_.suite; }
    std::uint64_t messages_dropped() const { return messages_dropped_; }  // session tickets

    void save(Encoder& to) const;
    static Result<Opener> load(Decoder& from);  // refuses with bad_input

private:
    enum class State : std::uint8_t { open, closed, failed };
    struct Inner {
        ContentType type{};
        Bytes text;
    };

    std::expected<Opened, Failure> judge(Inner inner, std::size_t input_size, std::size_t used);
    std::expected<Inner, Alert> decrypt(Bytes record);
    std::expected<bool, Alert> handshake_bytes(ConstBytes text);  // true: the peer asked for a KeyUpdate
    std::unexpected<Failure> fail(Alert alert, bool by_peer = false);
    bool inside_message() const { return message_have_ != 0 || message_skip_ != 0; }

    TrafficKey key_;
    Aead aead_;
    Nonce iv_{};
    // A post-handshake message may be cut into records anywhere: five bytes tell a KeyUpdate from what is
    // skipped.
    std::array<std::byte, 5> message_{};
    std::uint8_t message_have_ = 0;
    std::uint32_t message_skip_ = 0;
    std::uint64_t messages_dropped_ = 0;
    std::uint8_t without_data_ = 0;  // records in a row
    State state_ = State::open;
    Failure failure_;
};

}  // namespace culvert::tls
