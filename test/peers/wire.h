// A TCP connection for drivers of foreign peers: plain, or TLS 1.3 by lib/tls with OpenSSL's handshake. Waits
// in poll(2); for tests only, one thread, no limits but the kernel's.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/fd.h"
#include "lib/tls/handshake.h"

#include <memory>
#include <optional>

namespace culvert::test {

class Wire {
public:
    explicit Wire(Fd socket);
    // Shakes hands; false: refused, and the reason is on stderr.
    bool secure(tls::Handshake& handshake);

    // One record, or the bytes as they are.
    void queue(ConstBytes a, ConstBytes b = {});
    std::size_t unsent() const { return out_.size() - out_at_; }

    // Waits at most `timeout_ms` until something was received or sent. Received plaintext is appended to
    // `in`. False: the connection is over.
    bool turn(Buffer& in, int timeout_ms);
    void close_notify();

private:
    bool receive(Buffer& in);
    bool open(Buffer& in);
    bool send_some();
    bool wait(short events, int timeout_ms);
    bool send_all();

    Fd socket_;
    std::optional<tls::Sealer> sealer_;
    std::optional<tls::Opener> opener_;
    Buffer raw_;
    OutBuffer out_;
    std::size_t out_at_ = 0;
};

// 127.0.0.1 at a port of the kernel's choice.
struct Listening {
    Fd socket;
    std::uint16_t port = 0;
};
Listening listen_loopback();
Fd accept_one(const Fd& listener);
Fd connect_loopback(std::uint16_t port);

}  // namespace culvert::test
