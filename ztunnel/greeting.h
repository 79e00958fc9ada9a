// From a TCP connection to a secured one: the handshake of a link, either role. What remains of it is two
// keys, the peer's identity and the bytes that came behind (H-10 to H-14). The caller brings the deadline
// (W-2, S21).
#pragma once
#include "lib/io/task.h"
#include "ztunnel/link.h"

#include <memory>

namespace culvert::ztunnel {

struct Greeting {
    io::Socket socket;
    std::unique_ptr<tls::Handshake> handshake;
    std::shared_ptr<const tls::Credential> credential;
};

// Refusals: those of tls::Handshake, truncated when the peer left, reset, cancelled.
io::Task<Result<Secured>> greet(Greeting greeting);

}  // namespace culvert::ztunnel
