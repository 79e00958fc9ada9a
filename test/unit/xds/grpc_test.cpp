// Our gRPC client against our gRPC server, over loopback with TLS.
#include "lib/xds/grpc_door.h"
#include "lib/xds/report_session.h"
#include "lib/xds/session.h"
#include "test/support/control_plane.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

#include <cerrno>
#include <fstream>
#include <future>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace culvert;
using namespace culvert::test;
using xds::Type;

namespace {

// Names that a client has been told of, under a lock: it lives on the client's executor.
struct Told final : xds::DeltaSession::Listener {
    explicit Told(Happened& happened) : happened(happened) {}
    void delta(mesh::Delta delta) override {
        std::lock_guard hold(lock);
        for (const auto& each : delta.addresses)
            has.insert(std::visit([](const auto& value) { return xds::name_of(value); }, each));
        for (const auto& each : delta.policies) has.insert(each.key);
        for (const auto& name : delta.removed_addresses) has.erase(name);
        for (const auto& name : delta.removed_policies) has.erase(name);
        received += delta.addresses.size() + delta.policies.size();
        happened.notify();
    }
    void ready() override {
        is_ready = true;
        happened.notify();
    }
    void connected(bool is) override {
        if (is) ++streams;
        up = is;
        happened.notify();
    }
    std::size_t count() {
        std::lock_guard hold(lock);
        return has.size();
    }

    Happened& happened;
    std::mutex lock;
    std::set<std::string> has;
    std::size_t received = 0;
    std::atomic<bool> is_ready = false, up = false;
    std::atomic<int> streams = 0;
};

// A client as a program has it: an executor of its own, a transport, a session.
struct Client {
    Client(ControlPlane& plane, xds::Endpoint endpoint)
        : told(plane.happened()), transport(xds::grpc_delta_transport(executor, std::move(endpoint))),
          session(executor, *transport, {"ztunnel~1", "", {{"NODE_NAME", {"n1", false}}}}, told, metrics) {
        executor.post([this] { session.start(); });
    }
    ~Client() {
        std::promise<void> stopped;
        executor.post([&] {
            session.stop();
            stopped.set_value();
        });
        stopped.get_future().wait();
        executor.stop();
    }
    std::uint64_t ends(const char* reason) {
        return metrics.counter("istio_xds_connection_terminations", "", {{"reason", reason}}).value();
    }

    Registry metrics;
    xds::ThreadExecutor executor{"xds", system_clock()};
    Told told;
    std::unique_ptr<xds::DeltaTransport> transport;
    xds::DeltaSession session;
};

struct World {
    explicit World(std::vector<std::string> names = {"localhost"}, xds::ServerOptions options = {})
        : plane(std::move(names), std::move(options)) {
        for (int i = 0; i < 100; ++i) publisher.set(xds::encode(small_workload(i)));
        publisher.set(xds::encode(small_policy(1)));
        plane.publish(publisher.publish());
    }
    bool wait(const std::function<bool()>& holds) { return plane.happened().wait(holds); }
    void publish() { plane.publish(publisher.publish()); }

    ControlPlane plane;
    xds::Publisher publisher;
};

Result<std::vector<std::string>> sign(xds::CaTransport& ca, xds::Executor& executor,
                                      xds::SignRequest request) {
    std::promise<Result<std::vector<std::string>>> answer;
    executor.post([&] {
        ca.sign(std::move(request),
                [&](Result<std::vector<std::string>> chain) { answer.set_value(std::move(chain)); });
    });
    return answer.get_future().get();
}

const mesh::Identity web{"cluster.local", "shop", "web"};

xds::SignRequest request_for(const tls::PrivateKey& key, const mesh::Identity& identity) {
    return {tls::make_csr(key, identity).value(), std::chrono::hours(1), identity.to_string()};
}

}  // namespace

TEST_CASE("a client gets everything, then what changes, over TLS with a token [X-1][X-4]", "[xds][grpc]") {
    World world;
    Client client(world.plane, world.plane.endpoint());
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
    REQUIRE(client.told.count() == 101);
    world.publisher.remove(Type::address, xds::name_of(small_workload(7)));
    world.publisher.set(xds::encode(small_policy(2)));
    world.publish();
    REQUIRE(world.wait([&] { return client.told.count() == 101 && client.told.received == 102; }));
    REQUIRE(world.wait([&] {
        auto streams = world.plane.server().streams();
        return streams.size() == 1 && streams[0].synced && streams[0].node == "n1" &&
               streams[0].id == "ztunnel~1";
    }));
}

TEST_CASE("a controller that restarts gives back only what changed meanwhile [X-8][X-13]", "[xds][grpc]") {
    World world;
    Client client(world.plane, world.plane.endpoint());
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
    world.plane.stop();
    REQUIRE(world.wait([&] { return !client.told.up; }));
    REQUIRE(client.told.count() == 101);
    world.publisher.set(xds::encode(small_workload(3, 1)));
    world.publisher.remove(Type::address, xds::name_of(small_workload(4)));
    world.publish();
    world.plane.start();
    REQUIRE(world.wait([&] { return client.told.count() == 100; }));
    REQUIRE(client.told.received == 102);
    REQUIRE(client.ends("Reconnect") >= 1);
}

TEST_CASE("a wrong token is refused before anything is read, and counted [X-4]", "[xds][grpc]") {
    World world;
    xds::Endpoint endpoint = world.plane.endpoint();
    endpoint.token = "no-token";
    Client client(world.plane, endpoint);
    REQUIRE(world.wait([&] { return client.ends("Error") > 1; }));
    REQUIRE(world.plane.refused("token_rejected") > 1);
    REQUIRE(client.told.count() == 0);
    REQUIRE(world.plane.server().streams().empty());
}

TEST_CASE("the token is read again for each stream [X-4]", "[xds][grpc]") {
    World world;
    xds::Endpoint endpoint = world.plane.endpoint();
    std::ofstream(endpoint.token) << "spoiled";
    Client client(world.plane, endpoint);
    REQUIRE(world.wait([&] { return client.ends("Error") > 0; }));
    world.plane.endpoint();  // writes a good one
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
}

TEST_CASE("a stream ends with its token and begins again with the new one [X-4]", "[xds][grpc]") {
    xds::ServerOptions options;
    options.judge_seconds = 1;
    World world({"localhost"}, options);
    xds::Endpoint endpoint = world.plane.endpoint();
    // In force by the leeway alone, for two seconds more.
    std::ofstream(endpoint.token) << world.plane.token("n1", std::chrono::seconds(2) - tls::token_leeway);
    Client client(world.plane, endpoint);
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
    REQUIRE(world.wait([&] { return client.ends("Error") > 0; }));
    world.plane.endpoint();  // writes a good one
    REQUIRE(world.wait([&] { return client.told.up.load(); }));
}

TEST_CASE("a node that is taken out of the mesh hears nothing more, also on streams that were open [X-4]",
          "[xds][grpc]") {
    xds::ServerOptions options;
    options.judge_seconds = 1;
    World world({"localhost"}, options);
    Client client(world.plane, world.plane.endpoint("n1"));
    Client other(world.plane, world.plane.endpoint("n2"));
    REQUIRE(world.wait([&] { return client.told.is_ready.load() && other.told.is_ready.load(); }));
    world.plane.banish("n1");
    REQUIRE(world.wait([&] { return !client.told.up; }));
    REQUIRE(world.wait([&] { return world.plane.server().streams().size() == 1; }));
    world.publisher.set(xds::encode(small_workload(200)));
    world.publish();
    REQUIRE(world.wait([&] { return other.told.count() == 102; }));
    REQUIRE(client.told.count() == 101);
    REQUIRE(other.ends("Error") == 0);
}

namespace {

// A caller that connects and says nothing.
Fd silent(std::uint16_t port, int family = AF_INET) {
    Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage to{};
    to.ss_family = static_cast<sa_family_t>(family);
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_port = htons(port);  // at the same place in both
    if (family == AF_INET) v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (family == AF_INET6) reinterpret_cast<sockaddr_in6&>(to).sin6_addr = in6addr_loopback;
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to),
                      family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)) == 0);
    return fd;
}

bool is_cut(const Fd& fd) {
    char byte = 0;
    const ssize_t got = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

}  // namespace

TEST_CASE("callers who prove nothing are bounded in number and time, and starve no node [S21]",
          "[xds][grpc]") {
    xds::ServerOptions options;
    options.unproven_max = 4;
    options.unproven_seconds = GENERATE(1u, 60u);
    World world({"localhost"}, options);
    Client before(world.plane, world.plane.endpoint("n1"));
    REQUIRE(world.wait([&] { return before.told.is_ready.load(); }));
    std::vector<Fd> crowd;
    for (int i = 0; i < 50; ++i) crowd.push_back(silent(world.plane.server().port()));
    Client after(world.plane, world.plane.endpoint("n2"));
    REQUIRE(world.wait([&] { return after.told.is_ready.load(); }));
    const auto left = [&] { return std::ranges::count_if(crowd, [](const Fd& fd) { return !is_cut(fd); }); };
    const std::ptrdiff_t most = options.unproven_seconds == 1 ? 0 : 4;
    REQUIRE(world.wait([&] { return left() <= most; }));
    // Who has proven itself stays, however long.
    world.publisher.set(xds::encode(small_workload(300)));
    world.publish();
    REQUIRE(world.wait([&] { return before.told.count() == 102 && after.told.count() == 102; }));
    CHECK(before.told.streams == 1);
    crowd.clear();
    auto& open = world.plane.metrics.gauge("culvert_xds_connections", "");
    REQUIRE(world.wait([&] { return open.value() == 2; }));
}

TEST_CASE("a lack of descriptors passes, and then nodes are served again", "[xds][grpc]") {
    World world;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    Fd highest(::dup(0));
    rlimit tight = before;
    tight.rlim_cur = static_cast<rlim_t>(highest.get()) + 8;
    highest.reset();
    std::vector<Fd> crowd;
    // Made before there is a lack, connected while there is.
    for (int i = 0; i < 6; ++i) crowd.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(world.plane.server().port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (const Fd& one : crowd)
        REQUIRE(::connect(one.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    const bool cut = world.wait([&] { return std::ranges::any_of(crowd, is_cut); });
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(cut);
    Client after(world.plane, world.plane.endpoint("n1"));
    REQUIRE(world.wait([&] { return after.told.is_ready.load(); }));
}

TEST_CASE("the port is every address of its name, and a proven caller is known over IPv6 too",
          "[xds][grpc]") {
    Happened happened;
    Registry metrics;
    auto door = xds::Door::open({"[::]:0", 16, 2, std::chrono::seconds(60)}, metrics).value();
    std::vector<Fd> in;
    std::mutex lock;
    door->start([&](Fd fd) {
        std::lock_guard hold(lock);
        in.push_back(std::move(fd));
        happened.notify();
    });
    const Fd v6 = silent(door->port(), AF_INET6);
    sockaddr_in6 own{};
    socklen_t length = sizeof own;
    REQUIRE(::getsockname(v6.get(), reinterpret_cast<sockaddr*>(&own), &length) == 0);
    const Fd v4 = silent(door->port());
    auto arrived = [&] {
        std::lock_guard hold(lock);
        return in.size();
    };
    REQUIRE(happened.wait([&] { return arrived() == 2; }));
    door->proven("ipv6:%5B::1%5D:" + std::to_string(ntohs(own.sin6_port)));
    const Fd third = silent(door->port()), fourth = silent(door->port());
    REQUIRE(happened.wait([&] { return is_cut(v4); }));
    CHECK_FALSE(is_cut(v6));
    CHECK_FALSE(is_cut(fourth));
    door.reset();
}

TEST_CASE("roots are read again at each connect [X-3]", "[xds][grpc]") {
    World world;
    Scratch elsewhere;
    std::filesystem::permissions(elsewhere.path(), std::filesystem::perms::owner_all);
    auto other = tls::Authority::open(elsewhere.path(), "cluster.local", system_clock().wall()).value();
    xds::Endpoint endpoint = world.plane.endpoint();
    endpoint.root_ca = elsewhere.path("roots.pem");
    SECTION("a file of foreign roots") { std::ofstream(endpoint.root_ca) << other.root().pem; }
    SECTION("no file") {}
    SECTION("a file of nothing") { std::ofstream(endpoint.root_ca) << "nothing"; }
    Client client(world.plane, endpoint);
    REQUIRE(world.wait([&] { return client.ends("ConnectionError") > 1; }));
    REQUIRE(client.told.count() == 0);
    std::ofstream(endpoint.root_ca) << other.root().pem << world.plane.authority().root().pem;
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
}

TEST_CASE("the certificate must name the host, or the alternative [X-3]", "[xds][grpc]") {
    World world({"istiod.istio-system.svc"});
    xds::Endpoint endpoint = world.plane.endpoint();
    SECTION("neither: refused") {
        endpoint.alternative_name = "somebody.else";
        Client client(world.plane, endpoint);
        REQUIRE(world.wait([&] { return client.ends("ConnectionError") > 1; }));
        REQUIRE(client.told.count() == 0);
    }
    SECTION("the alternative: taken") {
        endpoint.alternative_name = "istiod.istio-system.svc";
        Client client(world.plane, endpoint);
        REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
    }
}

TEST_CASE("the certificate may name an address [X-3]", "[xds][grpc]") {
    World world({"127.0.0.1"});
    xds::Endpoint endpoint = world.plane.endpoint();
    endpoint.address.replace(endpoint.address.find("localhost"), 9, "127.0.0.1");
    Client client(world.plane, endpoint);
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
}

TEST_CASE("a new serving certificate is used without a restart", "[xds][grpc]") {
    World world({"old.name"});
    Client client(world.plane, world.plane.endpoint());
    REQUIRE(world.wait([&] { return client.ends("ConnectionError") > 0; }));
    world.plane.serve_as({"localhost"});
    REQUIRE(world.wait([&] { return client.told.is_ready.load(); }));
}

TEST_CASE("streams of one node beyond the bound are refused and counted, others are served", "[xds][grpc]") {
    xds::ServerOptions options;
    options.streams_of_node_max = 2;
    World world({"localhost"}, options);
    Client first(world.plane, world.plane.endpoint("n1"));
    Client second(world.plane, world.plane.endpoint("n1"));
    REQUIRE(world.wait([&] { return first.told.is_ready.load() && second.told.is_ready.load(); }));
    Client third(world.plane, world.plane.endpoint("n1"));
    Client other(world.plane, world.plane.endpoint("n2"));
    REQUIRE(world.wait([&] { return third.ends("Error") > 0 && other.told.is_ready.load(); }));
    REQUIRE(world.plane.refused("limit") > 0);
    REQUIRE_FALSE(third.told.is_ready);
}

TEST_CASE("a message beyond the bound ends its stream and nothing else", "[xds][grpc]") {
    xds::ServerOptions options;
    options.request_bytes_max = 4096;
    World world({"localhost"}, options);
    Client good(world.plane, world.plane.endpoint("n1"));
    REQUIRE(world.wait([&] { return good.told.is_ready.load(); }));
    xds::ThreadExecutor executor("big", system_clock());
    struct Ends final : xds::DeltaTransport::Events {
        void received(xds::DeltaResponse) override {}
        void closed(xds::StreamEnd how) override { end.set_value(std::move(how)); }
        std::promise<xds::StreamEnd> end;
    } ends;
    auto transport = xds::grpc_delta_transport(executor, world.plane.endpoint("n2"));
    executor.post([&] {
        transport->open(ends);
        xds::DeltaRequest request;
        request.node = xds::Node{std::string(10'000, 'x'), "", {}};
        request.type_url = xds::url(Type::address);
        transport->send(request);
    });
    xds::StreamEnd end = ends.end.get_future().get();
    REQUIRE(end.kind == xds::StreamEnd::Kind::error);
    world.publisher.set(xds::encode(small_workload(500)));
    world.publish();
    REQUIRE(world.wait([&] { return good.told.count() == 102; }));
    executor.stop();
}

TEST_CASE("a certificate is signed for whom the CA allows, its chain ends in the roots [CA-1][CA-2][CA-4]",
          "[xds][grpc]") {
    World world;
    world.plane.allow(web.to_string());
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, world.plane.endpoint());
    tls::PrivateKey key = tls::PrivateKey::generate().value();
    auto chain = sign(*ca, executor, request_for(key, web));
    REQUIRE(chain);
    auto credential = tls::Credential::from_response(std::move(key), *chain, web, system_clock().wall());
    REQUIRE(credential);
    REQUIRE((*credential)->roots()[0].pem == world.plane.authority().root().pem);
    executor.stop();
}

TEST_CASE("a refused impersonation is Unauthenticated and says no more [CA-6]", "[xds][grpc]") {
    World world;
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, world.plane.endpoint());
    tls::PrivateKey key = tls::PrivateKey::generate().value();
    auto chain = sign(*ca, executor, request_for(key, web));
    REQUIRE(chain.error().reason == Reason::ca_rejected);
    REQUIRE(chain.error().detail == 16);
    REQUIRE(chain.error().text == "request impersonation authentication failure");
    SECTION("so is a wrong token") {
        xds::Endpoint endpoint = world.plane.endpoint();
        endpoint.token = "nobody";
        auto stranger = xds::grpc_ca_transport(executor, endpoint);
        REQUIRE(sign(*stranger, executor, request_for(key, web)).error().detail == 16);
        REQUIRE(world.plane.refused("token_rejected") == 1);
        executor.stop();
    }
    executor.stop();
}

TEST_CASE("a CSR that is none is an invalid argument", "[xds][grpc]") {
    World world;
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, world.plane.endpoint());
    REQUIRE(sign(*ca, executor, {"nonsense", {}, web.to_string()}).error().detail == 3);
    executor.stop();
}

TEST_CASE("a CA that is away is unreachable, and found again when it is back [CA-1]", "[xds][grpc]") {
    World world;
    world.plane.allow(web.to_string());
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, world.plane.endpoint());
    tls::PrivateKey key = tls::PrivateKey::generate().value();
    REQUIRE(sign(*ca, executor, request_for(key, web)));
    world.plane.stop();
    REQUIRE(sign(*ca, executor, request_for(key, web)).error().reason == Reason::unreachable);
    world.plane.start();
    REQUIRE(world.wait([&] { return sign(*ca, executor, request_for(key, web)).has_value(); }));
    executor.stop();
}

TEST_CASE("changed roots count at the next request; unreadable ones leave the old connection [CA-1]",
          "[xds][grpc]") {
    World world;
    world.plane.allow(web.to_string());
    xds::ThreadExecutor executor("ca", system_clock());
    xds::Endpoint endpoint = world.plane.endpoint();
    Scratch scratch;
    std::filesystem::permissions(scratch.path(), std::filesystem::perms::owner_all);
    auto other = tls::Authority::open(scratch.path(), "cluster.local", system_clock().wall()).value();
    endpoint.root_ca = scratch.path("roots.pem");
    std::ofstream(endpoint.root_ca) << world.plane.authority().root().pem;
    auto ca = xds::grpc_ca_transport(executor, endpoint);
    tls::PrivateKey key = tls::PrivateKey::generate().value();
    REQUIRE(sign(*ca, executor, request_for(key, web)));
    std::ofstream(endpoint.root_ca) << "nothing";
    REQUIRE(sign(*ca, executor, request_for(key, web)));
    std::ofstream(endpoint.root_ca) << other.root().pem;
    REQUIRE(sign(*ca, executor, request_for(key, web)).error().reason == Reason::unreachable);
    executor.stop();
}

TEST_CASE("a node's report arrives whole after a restart of the controller, and only under its own name",
          "[xds][report]") {
    World world;
    xds::ThreadExecutor executor("report", system_clock());
    auto transport = xds::grpc_report_transport(executor, world.plane.endpoint("n1"));
    xds::ReportSession session(executor, *transport, "n1");
    auto pod = [](const char* uid, bool enrolled) {
        return xds::PodReport{uid, "shop", uid, enrolled, "", false};
    };
    executor.post([&] {
        session.set(pod("a", true));
        session.set(pod("b", false));
        session.start();
    });
    REQUIRE(world.wait([&] { return world.plane.roll("n1").size() == 2; }));
    world.plane.stop();
    executor.post([&] {
        session.remove("a");
        session.set(pod("c", true));
    });
    world.plane.start();
    REQUIRE(world.wait([&] { return world.plane.roll("n1").contains("c"); }));
    REQUIRE_FALSE(world.plane.roll("n1").contains("a"));
    SECTION("another node's token is refused") {
        auto foreign = xds::grpc_report_transport(executor, world.plane.endpoint("n2"));
        xds::ReportSession impostor(executor, *foreign, "n1");
        executor.post([&] {
            impostor.set(pod("evil", true));
            impostor.start();
        });
        REQUIRE(world.wait([&] { return world.plane.refused("permission") > 0; }));
        REQUIRE_FALSE(world.plane.roll("n1").contains("evil"));
        executor.stop();
    }
    executor.stop();
}

TEST_CASE("an address that makes no sense is named at start [X-1]", "[xds]") {
    auto error = [](std::string address) {
        xds::Endpoint endpoint;
        endpoint.address = std::move(address);
        auto valid = xds::validate(endpoint);
        return valid ? Reason::none : valid.error().reason;
    };
    REQUIRE(error("https://istiod.istio-system.svc:15012") == Reason::none);
    REQUIRE(error("istiod:15012") == Reason::none);
    REQUIRE(error("https://[fd00::1]:15012") == Reason::none);
    for (const char* address :
         {"", "http://istiod:15012", "https://istiod", "https://istiod:0", "https://istiod:70000",
          "https://:15012", "https://fd00::1:15012", "https://a b:1", "https://istiod:15012x"})
        REQUIRE(error(address) == Reason::bad_configuration);
    xds::Endpoint endpoint;
    endpoint.address = "istiod:15012";
    endpoint.headers = {{"x-team", "a"}};
    REQUIRE(xds::validate(endpoint));
    endpoint.headers = {{"X Team", "a"}};
    REQUIRE_FALSE(xds::validate(endpoint));
    endpoint.headers = {{"x-team", "a\nb"}};
    REQUIRE_FALSE(xds::validate(endpoint));
}

TEST_CASE("a server says what it lacks", "[xds][grpc]") {
    ControlPlane plane;
    Registry metrics;
    xds::ServerOptions options;
    options.listen = "127.0.0.1:" + std::to_string(plane.server().port());
    options.key_file = plane.path("serving-key.pem");
    options.chain_file = plane.path("serving.pem");
    SECTION("a busy port") {
        auto second = xds::GrpcServer::start(options, {}, metrics);
        REQUIRE(second.error().reason == Reason::io);
        REQUIRE(second.error().text.find(options.listen) != std::string::npos);
    }
    SECTION("no key") {
        options.key_file = plane.path("no-such-key");
        REQUIRE(xds::GrpcServer::start(options, {}, metrics).error().reason == Reason::bad_configuration);
    }
}
