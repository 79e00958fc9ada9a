// Seeded worlds: a client and a server over a wire that cuts anywhere, each saved and loaded between any two
// bytes. Every byte comes once and in order, and ends are ends.
#include "lib/base/random.h"
#include "test/support/h2_peer.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using h2::Code;
using h2::Role;

namespace {

constexpr std::uint64_t total = 300'000;

class World {
public:
    explicit World(std::uint64_t seed)
        : random_(seed), client_(Role::client, settings(true)), server_(Role::server, settings(false)) {
        server_.reads = client_.reads = false;
    }

    void run() {
        for (turn_ = 0; turn_ < 50'000 && !done(); ++turn_) {
            act(client_);
            act(server_);
            deliver(client_, server_);
            deliver(server_, client_);
            if (turn_ % 50 == 0) tick();
        }
    }
    void check_result() {
        CHECK(client_.error.empty());
        CHECK(server_.error.empty());
        CHECK(client_.intact);
        CHECK(server_.intact);
        CHECK(done());
        for (auto& [id, tunnel] : client_.tunnels) {
            H2Tunnel& other = server_.tunnels[id];
            if (tunnel.reset || other.reset) continue;
            ++whole_;
            CHECK(tunnel.received == total);
            CHECK(other.received == total);
            CHECK(tunnel.ended);
            CHECK(other.ended);
        }
        CHECK(whole_ > 0);
        CHECK(client_.engine.growth() == 0);
        CHECK(server_.engine.growth() == 0);
    }

private:
    h2::Settings settings(bool client) {
        h2::Settings settings = client ? h2::client_settings() : h2::server_settings();
        settings.streams_max = 8;
        settings.window_first = static_cast<std::uint32_t>(1000 + random_.below(70'000));
        settings.window_open = settings.window_first + static_cast<std::uint32_t>(random_.below(50'000));
        settings.window_max = settings.window_open * 4;
        settings.growth_max = static_cast<std::uint32_t>(random_.below(300'000));
        return settings;
    }

    bool done() {
        return opened_ == tunnels_max && client_.engine.streams() == 0 && server_.engine.streams() == 0;
    }

    void act(H2Peer& peer) {
        bool is_client = &peer == &client_;
        if (is_client && opened_ < tunnels_max && random_.below(20) == 0 && peer.connect() != 0) ++opened_;
        for (auto& [id, tunnel] : peer.tunnels) {
            if (tunnel.reset || !peer.engine.find(id)) continue;
            if (random_.below(400) == 0 && id % 8 == 1) peer.reset(id, Code::connect_error);
            if (tunnel.unread > 0 && random_.below(3) == 0) peer.read(id, 1 + random_.below(tunnel.unread));
            if (!tunnel.opened || tunnel.end_sent || random_.below(2) == 0) continue;
            std::size_t left = total - tunnel.sent;
            std::size_t size = std::min<std::size_t>(left, random_.below(20'000));
            peer.send(id, size, size == left, 1 + random_.below(h2::data_max));
        }
        if (random_.below(30) == 0) peer.engine.ping(random_.next());
        peer.flush();
    }

    void deliver(H2Peer& from, H2Peer& to) {
        std::size_t size = random_.below(3) == 0 ? random_.below(from.wire.size() + 1) : from.wire.size();
        Buffer bytes(from.wire.begin(), from.wire.begin() + static_cast<std::ptrdiff_t>(size));
        from.wire.erase(from.wire.begin(), from.wire.begin() + static_cast<std::ptrdiff_t>(size));
        to.take(bytes);
        if (random_.below(4) == 0) to.engine = h2_reborn(to.engine);
    }

    void tick() {
        client_.engine.tick();
        server_.engine.tick();
    }

    static constexpr int tunnels_max = 12;
    SeededRandom random_;
    H2Peer client_;
    H2Peer server_;
    int turn_ = 0;
    int opened_ = 0;
    int whole_ = 0;
};

}  // namespace

TEST_CASE("every byte arrives once and in order, whatever is cut, reset or handed over [H-29] [S17]") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        World world(seed);
        world.run();
        world.check_result();
    }
}

TEST_CASE("a state that no engine can have written is refused or harmless") {
    h2::Engine engine = h2_engine(Role::server, "tunnel");
    h2_feed(engine, h2_connect(3));
    h2_feed(engine, h2_frame(h2::FrameType::data, 0, 1, Buffer(1000)));
    Buffer partial = h2_frame(h2::FrameType::goaway, 0, 0, Buffer(12));
    partial.resize(14);
    h2_feed(engine, partial);
    Buffer state;
    Encoder to(state);
    engine.save(to);
    for (std::size_t size = 0; size < state.size(); ++size) {
        Decoder from(ConstBytes(state).first(size));
        CHECK_FALSE(h2::Engine::load(from).has_value());
    }
    SeededRandom random(7);
    int loaded = 0;
    for (int round = 0; round < 20'000; ++round) {
        Buffer bent = state;
        for (std::uint64_t i = 0; i <= random.below(3); ++i) {
            bent[random.below(bent.size())] = static_cast<std::byte>(random.next());
        }
        Decoder from{ConstBytes(bent)};
        auto copy = h2::Engine::load(from);
        if (!copy) continue;
        ++loaded;
        Buffer bytes = h2_frame(h2::FrameType::data, 1, 1, Buffer(1000));
        append(bytes, h2_connect(5));
        ConstBytes input = bytes;
        for (auto event = copy->next(input); event && *event;) event = copy->next(input);
        copy->respond(5, {});
        copy->reset(1, Code::cancel);
        copy->tick();
    }
    CHECK(loaded > 0);
}
