// A client against a server, driven by the input: who does what, how the bytes are cut, and which of them are
// bent on the way. While nothing was bent, both must understand each other, every byte arrives once and in
// order, and nobody starves.
#include "lib/base/check.h"
#include "test/support/h2_peer.h"

#include <algorithm>

using namespace culvert;
using namespace culvert::test;

namespace {

class Script {
public:
    explicit Script(ConstBytes left) : left_(left) {}
    bool over() const { return left_.empty(); }
    std::uint8_t byte() {
        if (left_.empty()) return 0;
        auto value = std::to_integer<std::uint8_t>(left_[0]);
        left_ = left_.subspan(1);
        return value;
    }
    std::size_t number() { return byte() * 256u + byte(); }

private:
    ConstBytes left_;
};

class Pair {
public:
    void run(Script script) {
        client_.reads = server_.reads = false;
        h2_settle(client_, server_);
        for (int steps = 0; !script.over() && steps < 300; ++steps) act(script);
        settle();
        limits(client_);
        limits(server_);
        if (!bent_) understood();
    }

private:
    void act(Script& script) {
        std::uint8_t verb = script.byte();
        H2Peer& peer = verb & 0x80 ? server_ : client_;
        H2Peer& other = verb & 0x80 ? client_ : server_;
        switch (verb & 0x0f) {
        case 0: connect(); break;
        case 1:
            peer.send(pick(peer, script), script.number() / 4, script.byte() % 4 == 0,
                      1 + script.number() % h2::data_max);
            break;
        case 2: deliver(peer, other, script.number()); break;
        case 3: peer.read(pick(peer, script), script.number()); break;
        case 4: reset(peer, pick(peer, script)); break;
        case 5: peer.engine = h2_reborn(peer.engine); break;
        case 6: peer.engine.tick(); break;
        case 7: peer.engine.drain(); break;
        case 8: peer.engine.ping(script.byte()); break;
        case 9: bend(peer, script); break;
        case 10: peer.engine.goaway(h2::Code::no_error); break;
        case 11: server_.accepts = !server_.accepts; break;
        case 12: respond(script); break;
        case 13: peer.engine.set_growth_max(static_cast<std::uint32_t>(script.number()) * 1024); break;
        case 14: settle(); break;
        default: peer.reads = !peer.reads; break;
        }
        peer.flush();
    }
    void connect() {
        if (client_.engine.streams() < 20) client_.connect();
    }
    h2::StreamId pick(H2Peer& peer, Script& script) {
        auto at = script.byte() % std::max<std::size_t>(1, peer.tunnels.size());
        return peer.tunnels.empty() ? 1
                                    : std::next(peer.tunnels.begin(), static_cast<std::ptrdiff_t>(at))->first;
    }
    void reset(H2Peer& peer, h2::StreamId id) {
        if (peer.engine.find(id)) peer.reset(id, h2::Code::connect_error);
    }
    void respond(Script& script) {
        h2::StreamId id = pick(server_, script);
        const h2::Stream* stream = server_.engine.find(id);
        if (stream == nullptr || stream->open) return;
        int status = script.byte() % 2 ? 200 : 503;
        server_.engine.respond(id, {.status = status});
        server_.tunnels[id].opened = status == 200;
        server_.tunnels[id].reset = status != 200;
    }
    void deliver(H2Peer& from, H2Peer& to, std::size_t size) {
        size = std::min(size, from.wire.size());
        Buffer bytes(from.wire.begin(), from.wire.begin() + static_cast<std::ptrdiff_t>(size));
        from.wire.erase(from.wire.begin(), from.wire.begin() + static_cast<std::ptrdiff_t>(size));
        to.take(bytes);
    }
    void bend(H2Peer& peer, Script& script) {
        if (peer.wire.empty()) return;
        peer.wire[script.number() % peer.wire.size()] = static_cast<std::byte>(script.byte());
        bent_ = true;
    }
    void settle() {
        // A peer that failed takes nothing more; what is under way to it is lost.
        for (int round = 0; round < 100 && !(client_.wire.empty() && server_.wire.empty()); ++round) {
            deliver(client_, server_, client_.wire.size());
            deliver(server_, client_, server_.wire.size());
        }
    }
    void limits(const H2Peer& peer) {
        check(peer.engine.streams() <= 200);
        check(peer.engine.growth() <= h2::server_settings().growth_max);
    }
    void understood() {
        for (const H2Peer* peer : {&client_, &server_}) {
            check(peer->intact);
            check(peer->error.empty() || peer->error == "ENHANCE_YOUR_CALM");
        }
        if (!client_.error.empty() || !server_.error.empty()) return;
        for (auto& [id, tunnel] : client_.tunnels) {
            H2Tunnel& other = server_.tunnels[id];
            if (tunnel.reset || other.reset) continue;
            check(tunnel.sent == other.received && other.sent == tunnel.received);
            check(tunnel.end_sent == other.ended && other.end_sent == tunnel.ended);
        }
    }

    H2Peer client_{h2::Role::client};
    H2Peer server_{h2::Role::server};
    bool bent_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Pair().run(Script(std::as_bytes(std::span(data, size))));
    return 0;
}
