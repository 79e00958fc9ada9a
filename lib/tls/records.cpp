#include "lib/tls/records.h"

#include "lib/base/check.h"

#include <algorithm>

namespace culvert::tls {
namespace {

constexpr std::uint8_t new_session_ticket = 4;
constexpr std::uint8_t key_update_message = 24;

// RFC 8446 5.3: the sequence number, padded to the left, XORed into the IV.
Nonce nonce(const Nonce& iv, std::uint64_t sequence) {
    Nonce out = iv;
    for (std::size_t i = 0; i < 8; ++i) out[4 + i] ^= std::byte(sequence >> (56 - 8 * i));
    return out;
}

// After a hand-over or a long idle time the cipher is made again from the value.
void ensure(Aead& aead, Nonce& iv, const TrafficKey& key, Aead::Use use) {
    if (aead) return;
    iv = key.iv();
    aead = Aead(key.suite, key.key(), use);
}

}  // namespace

std::size_t record_size(ConstBytes input) {
    if (input.size() < header_size) return header_size;
    return header_size + get_big_endian(input.data() + 3, 2);
}

Error Failure::to_error() const {
    return {by_peer ? Reason::tls_alert : Reason::tls_record, static_cast<int>(alert), {}};
}

// ---- sealing --------------------------------------------------------------------------------------------

std::size_t Sealer::seal(std::span<const ConstBytes> pieces, Bytes out) {
    const std::size_t before = answer_owed_ || key_.sequence >= limit_ ? key_update(out) : 0;
    return before + seal_one(ContentType::application_data, pieces, out.subspan(before));
}

std::size_t Sealer::seal_one(ContentType type, std::span<const ConstBytes> pieces, Bytes out) {
    ensure(aead_, iv_, key_, Aead::Use::seal);
    std::size_t size = 0;
    for (ConstBytes piece : pieces) size += piece.size();
    check(size <= plaintext_max && out.size() >= size + overhead);

    std::byte* header = out.data();
    header[0] = std::byte(ContentType::application_data);
    put_big_endian(header + 1, 0x0303, 2);
    put_big_endian(header + 3, size + 1 + tag_size, 2);
    aead_.seal(nonce(iv_, key_.sequence), out.first(header_size), pieces, std::byte(type),
               out.subspan(header_size));
    ++key_.sequence;
    return size + overhead;
}

std::size_t Sealer::key_update(Bytes out) {
    const std::array<std::byte, 5> message{std::byte{key_update_message}, std::byte{0}, std::byte{0},
                                           std::byte{1}, std::byte{0}};  // update_not_requested
    const ConstBytes piece(message);
    const std::size_t size = seal_one(ContentType::handshake, std::span(&piece, 1), out);
    key_ = key_.next();
    aead_.reset();
    answer_owed_ = false;
    return size;
}

std::size_t Sealer::alert(Alert alert, Bytes out) {
    const bool warning = alert == Alert::close_notify || alert == Alert::user_canceled;
    const std::array<std::byte, 2> message{std::byte(warning ? 1 : 2), std::byte(alert)};
    const ConstBytes piece(message);
    // The limit of a key has a reserve of 2^0.5 times its records, so an alert never needs a KeyUpdate first.
    return seal_one(ContentType::alert, std::span(&piece, 1), out);
}

void Sealer::wipe() {
    key_.secret.wipe();
    aead_.reset();
}

void Sealer::save(Encoder& to) const {
    key_.save(to);
    to.number(static_cast<std::uint8_t>(answer_owed_));
}

Result<Sealer> Sealer::load(Decoder& from) {
    TRY(TrafficKey key, TrafficKey::load(from));
    const auto owed = from.number<std::uint8_t>();
    if (!from.ok() || owed > 1) return refuse(Reason::bad_input);
    Sealer sealer(std::move(key));
    sealer.answer_owed_ = owed == 1;
    return sealer;
}

// ---- opening --------------------------------------------------------------------------------------------

std::unexpected<Failure> Opener::fail(Alert alert, bool by_peer) {
    state_ = State::failed;
    failure_ = {alert, by_peer};
    return std::unexpected(failure_);
}

std::expected<Opened, Failure> Opener::open(Bytes input) {
    if (state_ == State::failed) return std::unexpected(failure_);
    // RFC 8446 6.1: what follows close_notify is ignored.
    if (state_ == State::closed) return Opened{Opened::Kind::closed, input.size(), {}, false};
    // Refuse before the body comes: a wrong header can never become right. change_cipher_spec is allowed
    // during the handshake only (RFC 8446 5); nothing unprotected may follow it.
    if (!input.empty() && input[0] != std::byte(ContentType::application_data))
        return fail(Alert::unexpected_message);
    if (input.size() < header_size) return Opened{};
    const std::size_t size = record_size(input);
    if (size - header_size > ciphertext_max) return fail(Alert::record_overflow);
    if (size - header_size <= tag_size) return fail(Alert::bad_record_mac);
    if (input.size() < size) return Opened{};

    auto inner = decrypt(input.first(size));
    if (!inner) return fail(inner.error());
    return judge(*inner, input.size(), size);
}

std::expected<Opener::Inner, Alert> Opener::decrypt(Bytes record) {
    ensure(aead_, iv_, key_, Aead::Use::open);
    const Bytes text = record.subspan(header_size);
    if (!aead_.open(nonce(iv_, key_.sequence), record.first(header_size), text)) {
        return std::unexpected(Alert::bad_record_mac);
    }
    ++key_.sequence;
    std::size_t size = text.size() - tag_size;
    if (size > plaintext_max + 1)
        return std::unexpected(Alert::record_overflow);  // padding counts: RFC 8446 5.4
    while (size > 0 && text[size - 1] == std::byte{0}) --size;
    if (size == 0) return std::unexpected(Alert::unexpected_message);
    return Inner{ContentType(text[size - 1]), text.first(size - 1)};
}

// What the record means. Failures come from its words only; it is known to be the peer's own.
std::expected<Opened, Failure> Opener::judge(Inner inner, std::size_t input_size, std::size_t used) {
    Opened opened{Opened::Kind::nothing, used, {}, false};
    // RFC 8446 5.1: nothing may come between the pieces of a handshake message.
    if (inside_message() && inner.type != ContentType::handshake) return fail(Alert::unexpected_message);
    if (inner.type == ContentType::application_data && !inner.text.empty()) {
        without_data_ = 0;
        opened.kind = Opened::Kind::data;
        opened.plaintext = inner.text;
        return opened;
    }
    if (inner.type == ContentType::alert) {
        if (inner.text.size() != 2) return fail(Alert::decode_error);
        const auto alert = Alert(inner.text[1]);
        if (alert == Alert::close_notify) {
            state_ = State::closed;
            return Opened{Opened::Kind::closed, input_size, {}, false};
        }
        // RFC 8446 6.1: user_canceled only announces close_notify; any other alert is fatal whatever its
        // level says.
        if (alert != Alert::user_canceled) return fail(alert, true);
    }
    if (++without_data_ > records_without_data_max) return fail(Alert::unexpected_message);
    switch (inner.type) {
    case ContentType::application_data:
    case ContentType::alert: return opened;
    case ContentType::handshake: {
        if (inner.text.empty()) return fail(Alert::unexpected_message);  // RFC 8446 5.1
        auto asked = handshake_bytes(inner.text);
        if (!asked) return fail(asked.error());
        opened.key_update_asked = *asked;
        return opened;
    }
    case ContentType::change_cipher_spec: break;
    }
    return fail(Alert::unexpected_message);
}

std::expected<bool, Alert> Opener::handshake_bytes(ConstBytes text) {
    while (!text.empty()) {
        if (message_skip_ > 0) {
            const std::size_t skipped = std::min<std::size_t>(message_skip_, text.size());
            message_skip_ -= static_cast<std::uint32_t>(skipped);
            text = text.subspan(skipped);
            continue;
        }
        message_[message_have_++] = text[0];
        text = text.subspan(1);
        if (message_have_ < 4) continue;
        const auto type = std::to_integer<std::uint8_t>(message_[0]);
        const auto size = static_cast<std::uint32_t>(get_big_endian(&message_[1], 3));
        if (type == new_session_ticket) {
            if (size > message_max) return std::unexpected(Alert::decode_error);
            message_skip_ = size;
            message_have_ = 0;
            ++messages_dropped_;
            continue;
        }
        if (type != key_update_message) return std::unexpected(Alert::unexpected_message);
        if (size != 1) return std::unexpected(Alert::decode_error);
        if (message_have_ < 5) continue;
        const auto asked = std::to_integer<std::uint8_t>(message_[4]);
        message_have_ = 0;
        if (asked > 1) return std::unexpected(Alert::illegal_parameter);  // RFC 8446 4.6.3
        // The key changes at a record boundary (RFC 8446 5.1).
        if (!text.empty()) return std::unexpected(Alert::unexpected_message);
        key_ = key_.next();
        aead_.reset();
        return asked == 1;
    }
    return false;
}

void Opener::wipe() {
    key_.secret.wipe();
    aead_.reset();
}

void Opener::save(Encoder& to) const {
    key_.save(to);
    to.bytes(ConstBytes(message_).first(message_have_));
    to.number(message_skip_);
    to.number(messages_dropped_);
    to.number(without_data_);
    to.number(state_);
    to.number(failure_.alert);
    to.number(static_cast<std::uint8_t>(failure_.by_peer));
}

Result<Opener> Opener::load(Decoder& from) {
    TRY(TrafficKey key, TrafficKey::load(from));
    Opener opener(std::move(key));
    const ConstBytes message = from.bytes();
    opener.message_skip_ = from.number<std::uint32_t>();
    opener.messages_dropped_ = from.number<std::uint64_t>();
    opener.without_data_ = from.number<std::uint8_t>();
    opener.state_ = from.number<State>();
    opener.failure_.alert = from.number<Alert>();
    const auto by_peer = from.number<std::uint8_t>();
    if (!from.ok() || message.size() > 4 || opener.message_skip_ > message_max || by_peer > 1 ||
        opener.state_ > State::failed) {
        return refuse(Reason::bad_input);
    }
    std::ranges::copy(message, opener.message_.begin());
    opener.message_have_ = static_cast<std::uint8_t>(message.size());
    opener.failure_.by_peer = by_peer == 1;
    return opener;
}

}  // namespace culvert::tls
