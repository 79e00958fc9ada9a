#include "test/support/given_handshake.h"

#include "lib/base/check.h"

#include <algorithm>

namespace culvert::test {
namespace {

using tls::Established;
using tls::TrafficKey;

constexpr std::byte handshake_type{22};
constexpr std::byte alert_type{21};
constexpr std::byte bad_certificate{42};

TrafficKey key_of(std::uint64_t client_number, std::uint64_t server_number, bool from_client) {
    SeededRandom stream(client_number * 31 + server_number * 2 + (from_client ? 1 : 0));
    tls::Secret secret(tls::secret_size(tls::Suite::aes_128_gcm_sha256));
    for (std::byte& b : secret.writable()) b = std::byte(stream.next());
    return {tls::Suite::aes_128_gcm_sha256, std::move(secret), 0};
}

Buffer framed(std::byte type, ConstBytes payload) {
    Buffer out(tls::header_size);
    out[0] = type;
    put_big_endian(&out[1], 0x0303, 2);
    put_big_endian(&out[3], payload.size(), 2);
    append(out, payload);
    return out;
}

class GivenHandshake final : public tls::Handshake {
public:
    GivenHandshake(bool client, std::shared_ptr<const tls::Credential> credential,
                   std::vector<mesh::Identity> accepted, WallTime now, std::uint64_t number)
        : client_(client), credential_(std::move(credential)), accepted_(std::move(accepted)), now_(now),
          number_(number) {}

    Result<Progress> advance(ConstBytes input) override {
        if (error_.reason != Reason::none) return std::unexpected(error_);
        Progress progress;
        if (client_ && !said_hello_) hello();
        while (!progress.done) {
            const ConstBytes rest = input.subspan(progress.used);
            const std::size_t size = tls::record_size(rest);
            if (rest.size() < size) break;
            if (size > tls::handshake_bytes_max) return fail(Reason::tls_handshake);
            progress.used += size;
            TRY(progress.done, record(rest.first(size)));
        }
        return progress;
    }
    Buffer take_output() override { return std::exchange(output_, {}); }
    Established take() override { return std::move(result_); }
    std::string why() const override { return error_.reason == Reason::none ? "" : error_.to_string(); }

private:
    void hello() {
        said_hello_ = true;
        Buffer text;
        Encoder(text).number(number_);
        append(output_, framed(handshake_type, text));
    }
    void present() {
        Buffer text;
        Encoder to(text);
        tls::PeerIdentity{credential_->identity(), "1", credential_->not_after()}.save(to);
        append(output_, framed(handshake_type, text));
    }

    // True when the handshake is done.
    Result<bool> record(ConstBytes record) {
        if (record[0] == alert_type && record.size() == tls::header_size + 2) {
            return fail(Reason::tls_alert, std::to_integer<int>(record[6]));
        }
        if (record[0] != handshake_type) return fail(Reason::tls_handshake);
        Decoder from(record.subspan(tls::header_size));
        if (!peer_number_) {
            peer_number_ = from.number<std::uint64_t>();
            if (!from.ok() || !from.at_end()) return fail(Reason::tls_handshake);
            const std::uint64_t theirs = *peer_number_;
            const std::uint64_t client = client_ ? number_ : theirs, server = client_ ? theirs : number_;
            result_.write = key_of(client, server, client_);
            result_.read = key_of(client, server, !client_);
            if (client_) return false;
            hello();
            present();
            return false;
        }
        auto peer = tls::PeerIdentity::load(from);
        if (!peer || !from.at_end()) return fail(Reason::tls_handshake);
        if (now_ > peer->not_after) return refuse_peer(Reason::certificate_expired);
        const bool accepted = client_ ? std::ranges::find(accepted_, peer->identity) != accepted_.end()
                                      : peer->identity.trust_domain == credential_->identity().trust_domain;
        if (!accepted) return refuse_peer(Reason::tls_identity);
        result_.peer = *std::move(peer);
        if (client_) present();
        return true;
    }

    std::unexpected<Error> refuse_peer(Reason reason) {
        if (client_) {
            const std::array<std::byte, 2> text{std::byte{2}, bad_certificate};
            append(output_, framed(alert_type, text));
        } else {
            tls::Sealer sealer(std::move(result_.write));
            Buffer alert(tls::alert_size);
            sealer.alert(tls::Alert(bad_certificate), alert);
            append(output_, alert);
        }
        return fail(reason);
    }
    std::unexpected<Error> fail(Reason reason, int detail = 0) {
        error_ = {reason, detail, {}};
        return std::unexpected(error_);
    }

    bool client_;
    std::shared_ptr<const tls::Credential> credential_;
    std::vector<mesh::Identity> accepted_;
    WallTime now_;
    std::uint64_t number_;
    std::optional<std::uint64_t> peer_number_;
    bool said_hello_ = false;
    Established result_;
    Buffer output_;
    Error error_{Reason::none, 0, {}};
};

}  // namespace

std::unique_ptr<tls::Handshake> GivenHandshakes::client(std::shared_ptr<const tls::Credential> credential,
                                                        std::vector<mesh::Identity> accepted, WallTime now) {
    return std::make_unique<GivenHandshake>(true, std::move(credential), std::move(accepted), now,
                                            random_.next());
}

std::unique_ptr<tls::Handshake> GivenHandshakes::server(std::shared_ptr<const tls::Credential> credential,
                                                        WallTime now) {
    return std::make_unique<GivenHandshake>(false, std::move(credential), std::vector<mesh::Identity>{}, now,
                                            random_.next());
}

}  // namespace culvert::test
