// A link and its tunnels are values (S23): stopped at any await, written down, read by a successor that goes
// on with the same sockets. Links, tunnels, records and engine are the production ones, under the usual
// seeds; the test plays the coroutines that begin connections.
#include "lib/tls/credentials.h"
#include "test/support/sim_pair.h"
#include "ztunnel/tunnel.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;

namespace {

const Address door{client_ip, 7001};  // where the client's apps come in

struct Carried {
    Carried(ztunnel::PodView& pod, ztunnel::Direction direction) : connection(pod, direction) {}
    ztunnel::Connection connection;
    ztunnel::Tunnel tunnel{connection};
    io::Socket app;  // until the tunnel is open
};

io::Task<void> carry(Carried& carried) {
    auto answered = co_await carried.tunnel.answered();
    if (answered) carried.tunnel.start(std::move(carried.app));
}

// One end of a link.
class End {
public:
    End(SimWorld& world, SimNode& node, io::Namespace where, const mesh::Identity& identity)
        : world_(world), node_(node), where_(where), identity_(identity), view_(node.shard, info(identity)),
          doors_(node.loop), ending_(node.loop) {}

    // The client's: dials, and carries the apps that come in at `door`.
    void dial() {
        check(doors_.start(dial_link()));
        check(doors_.start(accept_apps(listen(door))));
    }
    // The server's: accepts, and dials the app for each tunnel.
    void serve() { check(doors_.start(accept_link(listen(server_hbone)))); }
    bool ready() const { return ready_; }

    // One hand-over; what was written. The world goes on meanwhile.
    Buffer hand_over() {
        check(link_->pause());
        pausing_ = true;
        for (auto& each : carried_) each->tunnel.pause();
        dials_->cancel();
        join();
        check(!link_->ended());
        Buffer written;
        Encoder to(written);
        link_->save(to);
        for (auto& each : carried_) each->tunnel.save(to);
        written_tunnels_ = carried_.size();
        go_on(written);
        pausing_ = false;
        for (io::Socket& each : std::exchange(arrived_, {})) open(std::move(each));
        return written;
    }

    // Would a successor take this, right after hand_over(), and say the same again?
    bool loads(ConstBytes written) {
        Decoder from(written);
        auto link = ztunnel::Link::load(from, node_.shard, {}, credential());
        if (!link) return false;
        check((*link)->pause());
        Buffer again;
        Encoder to(again);
        (*link)->save(to);
        for (std::size_t i = 0; i < written_tunnels_; ++i) {
            Carried made(view_, ztunnel::Direction::outbound);
            if (!made.tunnel.load(from, **link)) return false;
            made.tunnel.pause();
            made.tunnel.save(to);
        }
        check(!from.ok() || !from.at_end() || std::ranges::equal(again, written));
        return from.at_end();
    }

    void close() {
        doors_.cancel();
        link_->end(Reason::closed);
        for (auto& each : carried_) each->connection.cut(Reason::closed);
        dials_->cancel();
        join();
        carried_.clear();
        link_.reset();
    }

    std::shared_ptr<const tls::Credential> credential() const {
        WallTime now = world_.network.clock().wall();
        return tls::Credential::given(identity_, now - 5min, now + 24h);
    }

private:
    static std::shared_ptr<const ztunnel::PodInfo> info(const mesh::Identity& identity) {
        auto made = std::make_shared<ztunnel::PodInfo>();
        made->uid = made->name = identity.service_account;
        return made;
    }

    io::Listener listen(Address at) {
        auto listener = io::Listener::open(node_.loop, where_, at, {});
        check(listener.has_value());
        return *std::move(listener);
    }

    io::Task<void> dial_link() {
        auto dialling = io::connect(node_.loop, where_, server_hbone, {});
        auto socket = co_await dialling;
        check(socket.has_value());
        auto handshake =
            world_.handshakes().client(credential(), {server_identity}, node_.loop.clock().wall());
        auto greeting = ztunnel::greet({std::move(*socket), std::move(handshake), credential()});
        auto secured = co_await greeting;
        check(secured.has_value());
        link_ = std::make_unique<ztunnel::Link>(node_.shard, h2::Role::client, std::move(*secured));
        link_->start();
        auto made = co_await link_->ready();
        check(made.has_value());
        ready_ = true;
    }

    io::Task<void> accept_link(io::Listener listener) {
        auto socket = co_await listener.accept();
        check(socket.has_value());
        auto handshake = world_.handshakes().server(credential(), node_.loop.clock().wall());
        auto greeting = ztunnel::greet({std::move(*socket), std::move(handshake), credential()});
        auto secured = co_await greeting;
        check(secured.has_value());
        link_ = std::make_unique<ztunnel::Link>(node_.shard, h2::Role::server, std::move(*secured));
        link_->start();
        check(dials_->start(serve_streams()));
        ready_ = true;
    }

    // ---- the client's tunnels

    io::Task<void> accept_apps(io::Listener listener) {
        for (;;) {
            auto app = co_await listener.accept();
            if (!app) break;
            if (pausing_)
                arrived_.push_back(std::move(*app));
            else
                open(std::move(*app));
        }
    }

    void open(io::Socket app) {
        Carried& made = add(ztunnel::Direction::outbound);
        made.app = std::move(app);
        h2::ConnectRequest request;
        request.authority = server_at.to_string();
        check(link_->open(made.tunnel, request).has_value());
        check(made.connection.scope.start(carry(made)));
    }

    // ---- the server's tunnels

    io::Task<void> serve_streams() {
        for (;;) {
            auto stream = co_await link_->next_request();
            if (!stream) break;
            auto dialling = io::connect(node_.loop, where_, server_at, {});
            auto app = co_await dialling;
            if (!app || pausing_) break;  // the successor is told of it again
            Carried& made = add(ztunnel::Direction::inbound);
            auto request = link_->take_request(*stream, made.tunnel);
            check(request && request->authority == server_at.to_string());
            link_->respond(*stream, {});
            made.tunnel.start(std::move(*app));
        }
    }

    // ---- both

    Carried& add(ztunnel::Direction direction) {
        return *carried_.emplace_back(std::make_unique<Carried>(view_, direction));
    }

    void join() {
        bool joined = false;
        check(ending_.start(join_all(joined)));
        (void)world_.run(1h, [&joined] { return joined; });
        check(joined);
    }
    io::Task<void> join_all(bool& joined) {
        co_await dials_->join();
        for (auto& each : carried_) co_await each->connection.scope.join();
        co_await link_->join();
        joined = true;
    }

    // What the successor does.
    void go_on(ConstBytes written) {
        Decoder from(written);
        auto old = std::exchange(carried_, {});
        auto next = ztunnel::Link::load(from, node_.shard, link_->take_socket(), credential());
        check(next.has_value());
        for (auto& each : old) {
            Carried& made = add(each->connection.direction);
            check(made.tunnel.load(from, **next).has_value());
            made.app = each->tunnel.opened() ? each->tunnel.take_app() : std::move(each->app);
        }
        check(from.at_end());
        old.clear();
        link_ = *std::move(next);
        link_->start();
        for (auto& each : carried_) {
            if (each->tunnel.opened())
                each->tunnel.start(std::move(each->app));
            else
                check(each->connection.scope.start(carry(*each)));
        }
        bool server = identity_ == server_identity;
        dials_.emplace(node_.loop);
        if (server) check(dials_->start(serve_streams()));
    }

    SimWorld& world_;
    SimNode& node_;
    io::Namespace where_;
    mesh::Identity identity_;
    ztunnel::PodView view_;
    io::Scope doors_;
    io::Scope ending_;
    std::optional<io::Scope> dials_{std::in_place, node_.loop};
    std::unique_ptr<ztunnel::Link> link_;
    std::vector<std::unique_ptr<Carried>> carried_;
    std::vector<io::Socket> arrived_;  // while the link is paused
    std::size_t written_tunnels_ = 0;
    bool ready_ = false;
    bool pausing_ = false;
};

// Two ends on two nodes, and the apps behind them.
struct Stage {
    Stage(const io::SimOptions& options, Temper temper)
        : world(options), client_pod(world.add_plain("client", client_ip)),
          server_pod(world.add_plain("server", server_ip)),
          client(world, world.node(0), client_pod, client_identity),
          server(world, world.node(1), server_pod, server_identity), visitors(world.apps()),
          servers(world.apps()) {
        check(servers.start(test::serve(servers, server_pod, server_at, temper, served)));
    }
    void meet() {
        server.serve();
        client.dial();
        check(run([this] { return client.ready() && server.ready(); }));
    }
    void start(std::vector<Visit>& visits) {
        for (Visit& each : visits) check(visitors.start(visit(world.apps(), client_pod, door, each)));
    }
    bool run(const std::function<bool()>& enough) {
        return world.run(1h, enough) == io::SimNetwork::Rest::enough;
    }
    void pass(Duration time) { (void)world.run(time); }
    template <class T> void start(std::optional<T>& out, io::Task<T> task) {
        check(visitors.start(keep(out, std::move(task))));
    }
    template <class T> T by_hand(io::Task<T> task) {
        std::optional<T> out;
        start(out, std::move(task));
        check(run([&out] { return out.has_value(); }));
        return *std::move(out);
    }
    PeerParts hand(io::Namespace where, const mesh::Identity& identity) {
        return {world.apps(), where, world.handshakes(), identity};
    }
    bool finished() const { return visitors.children() == 0; }
    void close() {
        servers.cancel();
        client.close();
        server.close();
        world.close();
    }

    SimWorld world;
    io::Namespace client_pod, server_pod;
    End client, server;
    Server served;
    io::Scope visitors, servers;
};

using PeerPtr = std::unique_ptr<SimPeer>;

// A client that does not wait for the answer.
io::Task<Result<PeerPtr>> speak_early(PeerParts parts, ConstBytes bytes) {
    std::vector accepted{server_identity};
    CO_TRY(PeerPtr peer, co_await dial_by_hand(parts, server_hbone, accepted));
    CO_TRY_DONE(co_await peer->hear(h2::Event::Kind::settings));
    h2::ConnectRequest request;
    request.authority = server_at.to_string();
    request.baggage = "k8s.namespace.name=test";
    CO_TRY(h2::StreamId stream, peer->engine.connect(request));
    CO_TRY_DONE(co_await peer->flush());
    Buffer frame;
    h2::append_frame(frame, {.type = h2::FrameType::data, .stream = stream}, bytes);
    peer->raw(frame);
    CO_TRY_DONE(co_await peer->flush());
    co_return peer;
}

io::Task<Result<PeerPtr>> answer_one(PeerParts parts, io::Listener listener) {
    CO_TRY(PeerPtr peer, co_await accept_by_hand(parts, listener));
    CO_TRY(SimPeer::Heard request, co_await peer->hear(h2::Event::Kind::request));
    peer->engine.respond(request.event.stream, {});
    CO_TRY_DONE(co_await peer->flush());
    co_return peer;
}

io::Task<Result<Buffer>> hear_data(SimPeer& peer, std::size_t size) {
    Buffer heard;
    while (heard.size() < size) {
        CO_TRY(SimPeer::Heard data, co_await peer.hear(h2::Event::Kind::data));
        append(heard, data.bytes);
    }
    co_return heard;
}

// SETTINGS that give each stream this window.
io::Task<Result<Done>> set_window(SimPeer& peer, std::uint32_t size) {
    std::array<std::byte, 6> setting;
    put_big_endian(&setting[0], static_cast<std::uint16_t>(h2::Setting::initial_window_size), 2);
    put_big_endian(&setting[2], size, 4);
    Buffer frame;
    h2::append_frame(frame, {.type = h2::FrameType::settings}, setting);
    peer.raw(frame);
    co_return co_await peer.flush();
}

io::Task<Result<std::size_t>> send_all(io::Socket& socket, ConstBytes bytes) {
    co_return co_await socket.send(bytes);
}

}  // namespace

TEST_CASE("a link and its tunnels go on in a successor at any await, every byte once and in order [S23]",
          "[sim]") {
    std::size_t handed_over = 0, written = 0;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        INFO("--seed " << seed);
        auto temper = static_cast<Temper>(seed % 4);
        Stage stage({.seed = seed, .pipe_bytes = 1000 + seed * 300}, temper);
        stage.meet();
        auto visits = visits_of(4, 15'000);
        stage.start(visits);
        SeededRandom random(seed);
        while (!stage.finished()) {
            std::uint64_t turns = random.below(40);
            REQUIRE(stage.run([&] { return stage.finished() || turns-- == 0; }));
            End& end = random.below(2) == 0 ? stage.client : stage.server;
            const Buffer said = end.hand_over();
            REQUIRE(end.loads(said));
            written = std::max(written, said.size());
            ++handed_over;
        }
        for (const Visit& each : visits) REQUIRE(whole(temper, each));
        stage.close();
    }
    CHECK(handed_over > 1000);
    CHECK(written > 10'000);  // much was on its way
}

TEST_CASE("a CONNECT that nobody has taken yet travels, with the bytes that came behind it [S23]", "[sim]") {
    Stage stage({.seed = 11}, Temper::echo);
    stage.server.serve();
    stage.world.network.black_hole(server_at);
    const Buffer early = payload(1, 5'000);
    auto peer = stage.by_hand(speak_early(stage.hand(stage.client_pod, client_identity), early));
    REQUIRE(peer.has_value());
    stage.pass(1s);
    const Buffer written = stage.server.hand_over();
    CHECK(written.size() > early.size());
    CHECK(stage.server.loads(written));
    stage.world.network.heal(server_at);
    auto echoed = stage.by_hand(hear_data(**peer, early.size()));
    REQUIRE(echoed.has_value());
    CHECK(*echoed == early);
    peer->reset();
    stage.servers.cancel();
    stage.server.close();
    stage.world.close();
}

TEST_CASE("what an app said beyond a window that has shrunk travels [S23]", "[sim]") {
    Stage stage({.seed = 12}, Temper::echo);
    auto listener = io::Listener::open(stage.world.apps(), stage.server_pod, server_hbone, {});
    std::optional<Result<PeerPtr>> peer;
    stage.start(peer, answer_one(stage.hand(stage.server_pod, server_identity), std::move(*listener)));
    stage.client.dial();
    REQUIRE(stage.run([&stage] { return stage.client.ready(); }));
    auto app = stage.by_hand(io::connect(stage.world.apps(), stage.client_pod, door, {}));
    REQUIRE(app.has_value());
    REQUIRE(stage.run([&peer] { return peer.has_value(); }));
    REQUIRE(peer->has_value());
    // Of 256 KiB of credit 56 are left, which the tunnel asks its app for; then the peer takes back 64.
    const Buffer sent = payload(2, 205'000);
    const ConstBytes first = ConstBytes(sent).first(200'000), rest = ConstBytes(sent).subspan(200'000);
    REQUIRE(stage.by_hand(send_all(*app, first)).has_value());
    stage.pass(1s);
    REQUIRE(stage.by_hand(set_window(***peer, 0)).has_value());
    stage.pass(1s);
    REQUIRE(stage.by_hand(send_all(*app, rest)).has_value());
    stage.pass(1s);
    const Buffer written = stage.client.hand_over();
    CHECK(stage.client.loads(written));
    REQUIRE(stage.by_hand(set_window(***peer, 64 << 10)).has_value());
    auto heard = stage.by_hand(hear_data(***peer, sent.size()));
    REQUIRE(heard.has_value());
    CHECK(*heard == sent);
    peer->value().reset();
    app = refuse(Reason::closed);
    stage.servers.cancel();
    stage.client.close();
    stage.world.close();
}

TEST_CASE("a link that was cut short on its way to the successor is refused, never half loaded [S23]",
          "[sim]") {
    Stage stage({.seed = 7, .pipe_bytes = 2000}, Temper::echo);
    stage.meet();
    auto visits = visits_of(4, 15'000);
    stage.start(visits);
    std::uint64_t turns = 30;
    REQUIRE(stage.run([&turns] { return turns-- == 0; }));
    const Buffer written = stage.client.hand_over();
    REQUIRE(written.size() > 1000);
    REQUIRE(stage.client.loads(written));
    for (std::size_t size = 0; size < written.size(); size += 1 + size / 50) {
        INFO(size << " of " << written.size());
        REQUIRE_FALSE(stage.client.loads(ConstBytes(written).first(size)));
    }
    REQUIRE_FALSE(stage.client.loads(ConstBytes(written).first(written.size() - 1)));
    REQUIRE(stage.run([&stage] { return stage.finished(); }));
    stage.close();
}
