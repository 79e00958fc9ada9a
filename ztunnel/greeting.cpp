#include "ztunnel/greeting.h"

namespace culvert::ztunnel {

namespace {

// A flight of ours is a few kilobytes: it nearly always fits the socket at once, without the ring.
io::Task<Result<Done>> send_all(io::Socket& socket, ConstBytes bytes) {
    if (bytes.empty()) co_return Done{};
    CO_TRY(std::size_t sent, socket.try_send(bytes));
    ConstBytes rest = bytes.subspan(sent);
    if (rest.empty()) co_return Done{};
    CO_TRY(sent, co_await socket.send(rest));
    if (sent < rest.size()) co_return refuse(Reason::cancelled);
    co_return Done{};
}

Result<Done> take_received(Result<io::Received> received, Buffer& input) {
    if (!received) return refuse(std::move(received));
    if (received->end()) return refuse(Reason::truncated);
    append(input, received->bytes());
    return Done{};
}

}  // namespace

io::Task<Result<Secured>> greet(Greeting greeting) {
    io::Socket socket = std::move(greeting.socket);
    tls::Handshake& handshake = *greeting.handshake;
    Buffer input;
    for (;;) {
        auto progress = handshake.advance(input);
        Buffer output = handshake.take_output();
        auto sent = co_await send_all(socket, output);  // after a refusal: the alert
        if (!progress) co_return refuse(progress.error().reason, handshake.why());
        if (!sent) co_return refuse(std::move(sent));
        input.erase(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(progress->used));
        if (progress->done) break;
        auto received = co_await socket.recv(tls::handshake_bytes_max);
        CO_TRY_DONE(take_received(std::move(received), input));
    }
    co_return Secured{std::move(socket), handshake.take(), std::move(greeting.credential), std::move(input)};
}

}  // namespace culvert::ztunnel
