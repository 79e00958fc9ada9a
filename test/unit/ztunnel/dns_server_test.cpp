// The DNS of a pod on real sockets of the loopback, with a resolver of the test's behind it.
#include "lib/io/uring.h"
#include "test/support/captured_log.h"
#include "test/support/run.h"
#include "test/unit/mesh/builders.h"
#include "ztunnel/dns_server.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::mesh::test;
using namespace std::chrono_literals;
using ztunnel::DnsOptions;
using ztunnel::DnsServer;

namespace {

namespace dns = mesh::dns;
const Address loopback = at("127.0.0.1:0");

class NoCredentials final : public ztunnel::Credentials {
    io::Task<Result<std::shared_ptr<const tls::Credential>>> get(mesh::Identity) override {
        co_return refuse(Reason::no_certificate);
    }
};

Buffer query(std::string_view name, std::uint16_t type, std::uint16_t id = 0x1234) {
    Buffer out(12);
    put_big_endian(out.data(), id, 2);
    out[2] = std::byte{1};  // recursion desired
    out[5] = std::byte{1};  // one question
    while (!name.empty()) {
        std::string_view label = name.substr(0, name.find('.'));
        out.push_back(std::byte(label.size()));
        append(out, as_bytes(label));
        name.remove_prefix(std::min(name.size(), label.size() + 1));
    }
    out.push_back({});
    for (unsigned value : {unsigned{type}, 1u}) {
        out.push_back(std::byte(value >> 8));
        out.push_back(std::byte(value & 255));
    }
    return out;
}
constexpr std::uint16_t type_a = 1, type_txt = 16;

int code_of(ConstBytes response) {
    return response.size() < 12 ? -1 : static_cast<int>(response[3] & std::byte{15});
}
int answers_of(ConstBytes response) {
    return response.size() < 12 ? -1 : static_cast<int>(get_big_endian(response.data() + 6, 2));
}

// A resolver on loopback that answers with the query itself and four bytes behind it, over UDP and TCP.
class Resolver {
public:
    explicit Resolver(io::Loop& loop) : scope_(loop) {
        while (!bind_both(loop)) {
        }
        check(scope_.start(answer_datagrams()));
        check(scope_.start(answer_streams()));
    }
    io::Task<void> stop() {
        scope_.cancel();
        co_await scope_.join();
    }
    Address address() const { return at_; }
    static Buffer answer_to(ConstBytes asked) {
        Buffer out(asked.begin(), asked.end());
        append(out, as_bytes("\x01\x02\x03\x04"));
        return out;
    }
    bool lies_about_ids = false;
    int asked = 0;

private:
    // One port for both: what is free for datagrams may be taken for streams.
    bool bind_both(io::Loop& loop) {
        datagrams_.emplace(*io::Datagram::open(loop, io::own_namespace, loopback, {}));
        at_ = *datagrams_->local();
        auto listener = io::Listener::open(loop, io::own_namespace, at_, {});
        if (listener) listener_ = *std::move(listener);
        return listener.has_value();
    }
    io::Task<void> answer_datagrams() {
        Buffer buffer(4096);
        for (;;) {
            auto ready = co_await datagrams_->readable();
            if (!ready) co_return;
            auto packet = datagrams_->try_receive(buffer);
            if (!packet) continue;
            ++asked;
            Buffer answer = answer_to(packet->bytes);
            if (lies_about_ids) {
                Buffer lie = answer;
                lie[0] ^= std::byte{0xff};
                (void)datagrams_->try_send(lie, packet->from, packet->local);
            }
            (void)datagrams_->try_send(answer, packet->from, packet->local);
        }
    }
    io::Task<void> answer_streams() {
        for (;;) {
            auto stream = co_await listener_.accept();
            if (!stream) co_return;
            auto got = co_await stream->recv(4096);
            if (!got) co_return;
            ++asked;
            Buffer answer = answer_to(got->bytes().subspan(2));
            Buffer framed(2);
            put_big_endian(framed.data(), answer.size(), 2);
            append(framed, answer);
            auto sent = co_await stream->send(framed);
            if (!sent) co_return;
        }
    }
    io::Scope scope_;
    std::optional<io::Datagram> datagrams_;
    io::Listener listener_;
    Address at_;
};

class Stage {
public:
    enum class Behind { resolver, nobody, nobody_then_resolver };
    explicit Stage(Behind behind = Behind::resolver, bool with_directory = true)
        : loop(*io::make_uring()), resolver(loop) {
        settings.workload_wait = 100ms;
        shard.emplace(ztunnel::ShardParts{loop, settings, credentials, handshakes, metrics});
        auto info = std::make_shared<ztunnel::PodInfo>();
        info->uid = "u", info->name = "client", info->name_space = "ns", info->service_account = "client-sa";
        view.emplace(*shard, info);
        if (with_directory) {
            mesh::Delta delta;
            delta.addresses = {pod("client", {"10.0.0.9"}, [](auto& w) { w.canonical_name = "shopper"; }),
                               service("web", {"10.1.0.1"})};
            shard->publish(writer.apply(delta));
        }
        std::vector<Address> resolvers;
        if (behind != Behind::resolver) resolvers.push_back(at("127.0.0.1:1"));
        if (behind != Behind::nobody) resolvers.push_back(resolver.address());
        server.emplace(*view, DnsOptions{.port = 0, .ipv6 = false, .announce = false, .resolvers = resolvers},
                       metrics);
        REQUIRE(server->start());
    }
    ~Stage() { run(end()); }

    // The answer over UDP, over TCP; empty: none within 8 s.
    Buffer udp(Buffer message) { return run(ask_udp(std::move(message))); }
    Buffer tcp(Buffer message) { return run(ask_tcp(std::move(message))); }
    template <class T> T run(io::Task<T> task) {
        std::optional<T> out;
        io::Scope one(loop);
        check(one.start(keep_then_stop(out, std::move(task))));
        loop.run();
        REQUIRE(out);
        return *std::move(out);
    }

    io::Loop loop;
    Resolver resolver;
    Registry metrics;
    ztunnel::Settings settings;
    NoCredentials credentials;
    tls::OpensslHandshakes handshakes;
    mesh::DirectoryWriter writer;
    std::optional<ztunnel::Shard> shard;
    std::optional<ztunnel::PodView> view;
    std::optional<DnsServer> server;

private:
    template <class T> io::Task<void> keep_then_stop(std::optional<T>& out, io::Task<T> task) {
        out = co_await task;
        loop.stop();
    }
    io::Task<Done> end() {
        co_await server->stop();
        co_await resolver.stop();
        view->cut(Reason::pod_removed);
        co_await view->join();
        view.reset();
        co_return Done{};
    }
    Address local(Result<Address> listening) { return {loopback.ip, listening->port}; }
    io::Task<Result<Buffer>> exchange_udp(const Buffer& message) {
        CO_TRY(io::Datagram socket,
               io::Datagram::dial(loop, io::own_namespace, local(server->datagrams_at())));
        CO_TRY_DONE(socket.try_send(message));
        CO_TRY_DONE(co_await socket.readable());
        Buffer buffer(8192);
        CO_TRY(io::Datagram::Packet packet, socket.try_receive(buffer));
        co_return Buffer(packet.bytes.begin(), packet.bytes.end());
    }
    io::Task<Buffer> ask_udp(Buffer message) {
        auto asking = exchange_udp(message);
        auto answer = co_await io::within(loop, 8s, std::move(asking));
        co_return answer.value_or(Buffer{});
    }
    io::Task<Result<Buffer>> exchange_tcp(const Buffer& message) {
        const Address to = local(server->streams_at());
        const io::ConnectOptions plain;
        CO_TRY(io::Socket socket, co_await io::connect(loop, io::own_namespace, to, plain));
        Buffer framed(2);
        put_big_endian(framed.data(), message.size(), 2);
        append(framed, message);
        // In two pieces: a length that comes alone is no message yet.
        const ConstBytes bytes = framed;
        const ConstBytes first = bytes.first(1), second = bytes.subspan(1);
        CO_TRY_DONE(co_await socket.send(first));
        CO_TRY_DONE(co_await socket.send(second));
        Buffer received;
        while (received.size() < 2 || received.size() < 2 + get_big_endian(received.data(), 2)) {
            CO_TRY(io::Received got, co_await socket.recv(8192));
            if (got.end()) co_return refuse(Reason::closed);
            append(received, got.bytes());
        }
        co_return Buffer(received.begin() + 2, received.end());
    }
    io::Task<Buffer> ask_tcp(Buffer message) {
        auto asking = exchange_tcp(message);
        auto answer = co_await io::within(loop, 8s, std::move(asking));
        co_return answer.value_or(Buffer{});
    }
};

}  // namespace

TEST_CASE("a service's name is answered from the directory, over UDP and TCP [D-2, D-10]", "[dns]") {
    Stage stage;
    for (const Buffer& answer :
         {stage.udp(query("web.ns.svc.cluster.local", type_a)), stage.tcp(query("web", type_a))}) {
        CHECK(code_of(answer) == 0);
        CHECK(answers_of(answer) >= 1);
        CHECK((answer[2] & std::byte{4}) != std::byte{});  // AA: ours
    }
    CHECK(stage.resolver.asked == 0);
}

TEST_CASE("what the mesh does not know, and other types, travel byte for byte [D-4, D-13]", "[dns]") {
    Stage stage;
    for (const Buffer& asked :
         {query("outside.example", type_a), query("web.ns.svc.cluster.local", type_txt)}) {
        CHECK(stage.udp(asked) == Resolver::answer_to(asked));
        CHECK(stage.tcp(asked) == Resolver::answer_to(asked));
    }
    CHECK(stage.resolver.asked == 4);
}

TEST_CASE("a resolver that refuses is followed by the next; when none answers it is SERVFAIL [D-14]",
          "[dns]") {
    {
        Stage none(Stage::Behind::nobody);
        CHECK(code_of(none.udp(query("outside.example", type_a))) == 2);
        CHECK(code_of(none.tcp(query("outside.example", type_a))) == 2);
    }
    Stage stage(Stage::Behind::nobody_then_resolver);
    const Buffer asked = query("outside.example", type_a);
    CHECK(stage.udp(asked) == Resolver::answer_to(asked));
    CHECK(stage.tcp(asked) == Resolver::answer_to(asked));
}

TEST_CASE("an answer with another id is not the answer", "[dns]") {
    Stage stage;
    stage.resolver.lies_about_ids = true;
    const Buffer asked = query("outside.example", type_a);
    CHECK(stage.udp(asked) == Resolver::answer_to(asked));
}

TEST_CASE("while nothing is known of the mesh a query waits, then gets SERVFAIL [D-3]", "[dns]") {
    Stage stage(Stage::Behind::resolver, false);
    CHECK(code_of(stage.udp(query("web", type_a))) == 2);
    CHECK(stage.resolver.asked == 0);
}

TEST_CASE("garbage gets no answer and disturbs nobody", "[dns]") {
    Stage stage;
    stage.settings.workload_wait = 100ms;
    CHECK(stage.tcp(Buffer(3)).empty());
    CHECK(code_of(stage.udp(Buffer(40))) != 0);
    CHECK(code_of(stage.udp(query("web", type_a))) == 0);
}

TEST_CASE("queries are counted by type, protocol and who asks, and logged at debug [M-7, L-4]", "[dns]") {
    std::vector<std::string> lines;
    std::string text;
    {
        test::CapturedLog log("dns=debug");
        Stage stage;
        (void)stage.udp(query("web", type_a));
        (void)stage.tcp(query("outside.example", type_txt));
        text = stage.metrics.render();
        lines = log.lines();
    }
    auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    CHECK(has("istio_dns_requests_total{request_query_type=\"a\",request_protocol=\"udp\",source_canonical_"
              "service=\"shopper\""));
    CHECK(has("istio_dns_upstream_requests_total{request_query_type=\"other\",request_protocol=\"tcp\""));
    CHECK(has("istio_dns_upstream_request_duration_seconds_count 1"));
    REQUIRE(lines.size() == 2);
    CHECK(
        lines[0].find("\tdns\tquery\tsrc.workload=\"client\" query=\"a\" domain=\"web\" result=\"local\"") !=
        std::string::npos);
}
