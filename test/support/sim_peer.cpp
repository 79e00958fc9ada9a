#include "test/support/sim_peer.h"

#include "lib/tls/credentials.h"

namespace culvert::test {

namespace {

std::shared_ptr<const tls::Credential> given(const PeerParts& parts) {
    WallTime now = parts.loop.clock().wall();
    return tls::Credential::given(parts.identity, now - std::chrono::minutes(5),
                                  now + std::chrono::hours(24));
}

}  // namespace

SimPeer::SimPeer(h2::Role role, ztunnel::Secured secured)
    : engine(role, role == h2::Role::client ? h2::client_settings() : h2::server_settings()),
      socket_(std::move(secured.socket)), inbox_(tls::Opener(std::move(secured.established.read))),
      outbox_(tls::Sealer(std::move(secured.established.write)), shelf_) {
    state_ = take(secured.early);
}

io::Task<Result<Done>> SimPeer::flush() {
    outbox_.control(engine.output());
    engine.output_taken();
    outbox_.seal();
    while (!outbox_.sealed().empty() || outbox_.stalled()) {
        ConstBytes next = outbox_.next();
        CO_TRY(std::size_t sent, co_await socket_.send(next));
        outbox_.sent(sent);
    }
    co_return Done{};
}

io::Task<Result<SimPeer::Heard>> SimPeer::hear(h2::Event::Kind kind) {
    for (;;) {
        while (!heard_.empty()) {
            Heard heard = std::move(heard_.front());
            heard_.pop_front();
            if (heard.event.kind == kind) co_return heard;
        }
        if (!state_) co_return refuse(Result<Done>(state_));
        CO_TRY_DONE(co_await flush());
        auto received = co_await socket_.recv(100'000);
        if (!received)
            state_ = refuse(std::move(received));
        else if (received->end())
            state_ = refuse(Reason::truncated);
        else
            state_ = take(received->bytes());
    }
}

void SimPeer::data(h2::StreamId stream, ConstBytes bytes, bool end) {
    outbox_.control(engine.output());
    engine.output_taken();
    auto header = engine.frame_data(stream, bytes.size(), end);
    check(header.has_value());
    outbox_.data(*header, bytes);
}

Result<Done> SimPeer::take(Bytes input) {
    for (;;) {
        auto opened = inbox_.next(input);
        if (!opened) return std::unexpected(opened.error().to_error());
        if (!*opened) return Done{};
        if ((*opened)->kind == tls::Opened::Kind::closed) return refuse(Reason::closed);
        for (ConstBytes text = (*opened)->plaintext;;) {
            TRY(auto event, engine.next(text));
            if (!event) break;
            Heard heard;
            heard.bytes.assign(event->bytes.begin(), event->bytes.end());
            if (event->kind == h2::Event::Kind::data) engine.consumed(event->stream, event->bytes.size());
            heard.event = std::move(*event);
            heard.event.bytes = {};
            heard_.push_back(std::move(heard));
        }
        inbox_.forget();
    }
}

io::Task<Result<std::unique_ptr<SimPeer>>> dial_by_hand(PeerParts parts, Address to,
                                                        std::vector<mesh::Identity> accepted) {
    auto dialling = io::connect(parts.loop, parts.where, to, {});
    CO_TRY(io::Socket socket, co_await dialling);
    auto credential = given(parts);
    auto handshake = parts.handshakes.client(credential, std::move(accepted), parts.loop.clock().wall());
    ztunnel::Greeting greeting{std::move(socket), std::move(handshake), credential};
    CO_TRY(ztunnel::Secured secured, co_await greet(std::move(greeting)));
    co_return std::make_unique<SimPeer>(h2::Role::client, std::move(secured));
}

io::Task<Result<std::unique_ptr<SimPeer>>> accept_by_hand(PeerParts parts, io::Listener& listener) {
    CO_TRY(io::Socket socket, co_await listener.accept());
    auto credential = given(parts);
    auto handshake = parts.handshakes.server(credential, parts.loop.clock().wall());
    ztunnel::Greeting greeting{std::move(socket), std::move(handshake), credential};
    CO_TRY(ztunnel::Secured secured, co_await greet(std::move(greeting)));
    co_return std::make_unique<SimPeer>(h2::Role::server, std::move(secured));
}

}  // namespace culvert::test
