// The TLS 1.3 handshake of a link (wire facts H-2 to H-14), sans I/O: bytes in, bytes out, and in the end two
// traffic keys and who the peer is. OpenSSL's state (tens of kilobytes) is gone then.
//
// Owned by the coroutine that makes the link, on its loop; the caller brings the deadline (S21) and the wall
// time against which certificates are judged. The cut is exact: not a byte behind the handshake is taken,
// what follows the last flight in the same packet stays with the caller for the Opener. Limits:
// handshake_bytes_max from the peer.
//
// Refusals: no_certificate, certificate_expired, tls_identity (verified, but not one we accept), tls_alert
// (the peer's, detail is its number), tls_handshake (all else). A client's refused certificate often shows
// only after the client's handshake is done, as an alert that the Opener reports (H-8).
#pragma once
#include "lib/tls/credentials.h"
#include "lib/tls/records.h"

#include <memory>
#include <vector>

namespace culvert::tls {

// A chain of ten P-256 certificates is about 8 KB, of ten RSA-4096 ones 20 KB; both flights' rest is below 2
// KB.
constexpr std::size_t handshake_bytes_max = 64 * 1024;

class ChainCache;

struct Established {
    TrafficKey read;
    TrafficKey write;
    PeerIdentity peer;
};

class Handshake {
public:
    struct Progress {
        std::size_t used = 0;  // bytes of the input that are done with: whole records
        bool done = false;
    };

    virtual ~Handshake() = default;

    // Takes whole records from the front of `input` as long as the handshake needs them; a client starts with
    // an empty input. After each call, also a refused one (it may hold the alert), what take_output() returns
    // is to be sent.
    virtual Result<Progress> advance(ConstBytes input) = 0;
    virtual Buffer take_output() = 0;

    // Once, after `done`.
    virtual Established take() = 0;

    // What is behind a refusal, in a sentence for the log; built only when asked for. Empty without refusal.
    virtual std::string why() const = 0;
};

// Two implementations: OpenSSL's below, and the simulator's (test/support) with given secrets (decision 23).
class HandshakeMaker {
public:
    virtual ~HandshakeMaker() = default;

    // H-14: the server must be exactly one of `accepted`; an empty set never matches.
    virtual std::unique_ptr<Handshake> client(std::shared_ptr<const Credential> credential,
                                              std::vector<mesh::Identity> accepted, WallTime now) = 0;
    // H-13: the client must chain to our credential's roots and be of its trust domain.
    virtual std::unique_ptr<Handshake> server(std::shared_ptr<const Credential> credential, WallTime now) = 0;
};

// With OpenSSL. One per loop: it remembers which certificates verified lately. Outlives its handshakes.
class OpensslHandshakes final : public HandshakeMaker {
public:
    OpensslHandshakes();
    ~OpensslHandshakes() override;

    std::unique_ptr<Handshake> client(std::shared_ptr<const Credential> credential,
                                      std::vector<mesh::Identity> accepted, WallTime now) override;
    std::unique_ptr<Handshake> server(std::shared_ptr<const Credential> credential, WallTime now) override;

private:
    std::unique_ptr<ChainCache> verified_;
};

}  // namespace culvert::tls
