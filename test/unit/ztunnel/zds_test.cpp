#include "lib/io/uring.h"
#include "proto/zds.pb.h"
#include "test/support/run.h"
#include "ztunnel/zds.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

using namespace culvert;
using namespace culvert::ztunnel;
using namespace std::chrono_literals;

namespace {

using istio::workload::zds::WorkloadRequest;

Buffer bytes_of(const google::protobuf::MessageLite& message) {
    std::string text = message.SerializeAsString();
    return {as_bytes(text).begin(), as_bytes(text).end()};
}

Buffer add_bytes(const std::string& uid) {
    WorkloadRequest request;
    request.mutable_add()->set_uid(uid);
    request.mutable_add()->mutable_workload_info()->set_name("n-" + uid);
    return bytes_of(request);
}
Buffer delete_bytes(const std::string& uid) {
    WorkloadRequest request;
    request.mutable_del()->set_uid(uid);
    return bytes_of(request);
}
Buffer keep_bytes(const std::string& uid) {
    WorkloadRequest request;
    request.mutable_keep()->set_uid(uid);
    return bytes_of(request);
}
Buffer snapshot_bytes() {
    WorkloadRequest request;
    request.mutable_snapshot_sent();
    return bytes_of(request);
}

std::vector<Fd> some_descriptors(std::size_t count) {
    std::vector<Fd> out;
    for (std::size_t i = 0; i < count; ++i) out.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
    return out;
}

// Records what ZDS asks of the node; fails the pods named in `failing`.
class Recorder final : public PodKeeper {
public:
    io::Task<Result<Done>> add(AddedPod spec) override {
        calls.push_back("add " + spec.uid);
        if (failing.contains(spec.uid)) co_return refuse(Reason::io, "bind conflict");
        here.insert(spec.uid);
        co_return Done{};
    }
    io::Task<Result<Done>> remove(std::string uid) override {
        calls.push_back("remove " + uid);
        here.erase(uid);
        co_return Done{};
    }
    std::vector<std::string> uids() const override { return {here.begin(), here.end()}; }
    std::set<std::string> here, failing;
    std::vector<std::string> calls;
};

// An agent's half on a real socket, spoken to from the same loop.
class World {
public:
    World() : loop(*io::make_uring()), scope(loop), path(name()), zds(loop, pods, path, metrics) {
        listener.emplace(*io::PacketListener::open(loop, path, 0600));
        check(scope.start(zds.run()));
    }
    ~World() {
        scope.cancel();
        io::Scope last(loop);
        check(last.start(end()));
        loop.run();
        std::filesystem::remove(path);
    }
    // Runs `task` while ZDS runs beside it.
    template <class T> T run(io::Task<T> task) {
        std::optional<T> out;
        io::Scope one(loop);
        check(one.start(keep_then_stop(out, std::move(task))));
        loop.run();
        REQUIRE(out);
        return *std::move(out);
    }
    io::Task<Result<std::string>> greet() {
        CO_TRY(auto accepted, co_await listener->accept());
        agent.emplace(std::move(accepted));
        CO_TRY(io::Packet packet, co_await agent->receive());
        istio::workload::zds::ZdsHello hello;
        co_return hello.ParseFromArray(packet.bytes.data(), static_cast<int>(packet.bytes.size()))
            ? std::to_string(hello.version())
            : "no hello";
    }
    // The ack's error text, or how the connection ended.
    io::Task<Result<std::string>> ask(Buffer request, int descriptor) {
        CO_TRY_DONE(co_await agent->send(request, descriptor));
        CO_TRY(io::Packet packet, co_await agent->receive());
        if (packet.bytes.empty()) co_return "closed";
        istio::workload::zds::WorkloadResponse response;
        if (!response.ParseFromArray(packet.bytes.data(), static_cast<int>(packet.bytes.size())))
            co_return "no response";
        co_return response.ack().error();
    }
    io::Task<Result<std::string>> closed() {
        CO_TRY(io::Packet packet, co_await agent->receive());
        co_return packet.bytes.empty() ? "closed" : "open";
    }

    io::Loop loop;
    io::Scope scope;
    Registry metrics;
    Recorder pods;
    std::string path;
    Zds zds;
    std::optional<io::PacketListener> listener;
    std::optional<io::PacketSocket> agent;

private:
    static std::string name() { return "/tmp/culvert-zds-test-" + std::to_string(getpid()) + ".sock"; }
    template <class T> io::Task<void> keep_then_stop(std::optional<T>& out, io::Task<T> task) {
        out = co_await task;
        loop.stop();
    }
    io::Task<void> end() {
        co_await scope.join();
        loop.stop();
    }
};

std::string one_descriptor_ask(World& world, Buffer request) {
    Fd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    return *world.run(world.ask(std::move(request), fd.get()));
}
std::string ask(World& world, Buffer request) { return *world.run(world.ask(std::move(request), -1)); }

}  // namespace

TEST_CASE("messages parse into requests, descriptors where they belong [Z-3, Z-4]", "[zds]") {
    auto add = zds::parse(add_bytes("u"), some_descriptors(1));
    REQUIRE(add);
    CHECK(std::get<zds::Add>(*add).pod.name == "n-u");
    CHECK(std::get<zds::Add>(*add).pod.network_namespace.open());
    CHECK(std::get<zds::Delete>(*zds::parse(delete_bytes("u"), {})).uid == "u");
    CHECK(std::get<zds::Keep>(*zds::parse(keep_bytes("u"), {})).uid == "u");
    CHECK(std::holds_alternative<zds::SnapshotSent>(*zds::parse(snapshot_bytes(), {})));
}

TEST_CASE("an Add without exactly one descriptor, or any other message with one, is refused [Z-4]", "[zds]") {
    CHECK_FALSE(zds::parse(add_bytes("u"), {}));
    CHECK_FALSE(zds::parse(add_bytes("u"), some_descriptors(2)));
    CHECK_FALSE(zds::parse(delete_bytes("u"), some_descriptors(1)));
    CHECK_FALSE(zds::parse(snapshot_bytes(), some_descriptors(1)));
    CHECK_FALSE(zds::parse(as_bytes("\xff\xff\xff"), {}));
    WorkloadRequest nameless;
    nameless.mutable_add()->set_uid("u");
    CHECK_FALSE(zds::parse(bytes_of(nameless), some_descriptors(1)));
}

TEST_CASE("a response fits a packet, however long its error [Z-4]", "[zds]") {
    CHECK(zds::response(std::string(5000, 'x')).size() <= io::PacketSocket::packet_max);
}

TEST_CASE("ztunnel connects, says hello with version 1 and answers each request once [Z-1, Z-2]", "[zds]") {
    World world;
    CHECK(*world.run(world.greet()) == "1");
    CHECK(one_descriptor_ask(world, add_bytes("a")) == "");
    CHECK(ask(world, delete_bytes("a")) == "");
    CHECK(ask(world, delete_bytes("unknown")) == "");  // Z-6
    CHECK(world.pods.calls == std::vector<std::string>{"add a", "remove a", "remove unknown"});
}

TEST_CASE("after the snapshot, pods that were not mentioned are gone, and it is ready [Z-5, Z-11]", "[zds]") {
    World world;
    world.pods.here = {"old", "kept"};
    REQUIRE(*world.run(world.greet()) == "1");
    CHECK_FALSE(world.zds.is_ready());
    CHECK(ask(world, keep_bytes("kept")) == "");
    CHECK(one_descriptor_ask(world, add_bytes("new")) == "");
    CHECK(ask(world, snapshot_bytes()) == "");
    CHECK(world.pods.here == std::set<std::string>{"kept", "new"});
    CHECK(world.zds.is_ready());
}

TEST_CASE("Keep or another SnapshotSent after the snapshot is refused and the connection begun anew [Z-5, "
          "Z-8, W-16]",
          "[zds]") {
    World world;
    REQUIRE(*world.run(world.greet()) == "1");
    REQUIRE(ask(world, snapshot_bytes()) == "");
    CHECK(ask(world, keep_bytes("a")) == "KeepWorkload after the snapshot");
    CHECK(*world.run(world.closed()) == "closed");
    REQUIRE(*world.run(world.greet()) == "1");  // Z-9: it came back
    REQUIRE(ask(world, snapshot_bytes()) == "");
    CHECK(ask(world, snapshot_bytes()) == "a second SnapshotSent");
    CHECK(*world.run(world.closed()) == "closed");
}

TEST_CASE("a pod that does not start is answered with the reason, awaited, and given up when it is deleted "
          "[Z-7, Z-6]",
          "[zds]") {
    World world;
    world.pods.failing = {"bad"};
    REQUIRE(*world.run(world.greet()) == "1");
    CHECK(one_descriptor_ask(world, add_bytes("bad")).starts_with("failure to start proxy : "));
    CHECK(ask(world, snapshot_bytes()) == "");
    CHECK_FALSE(world.zds.is_ready());
    CHECK(ask(world, delete_bytes("bad")) == "");
    CHECK(world.zds.is_ready());
}

TEST_CASE("while there is no agent the pods are kept and readiness is lost [Z-9]", "[zds]") {
    World world;
    REQUIRE(*world.run(world.greet()) == "1");
    REQUIRE(one_descriptor_ask(world, add_bytes("a")) == "");
    REQUIRE(ask(world, snapshot_bytes()) == "");
    world.agent.reset();
    REQUIRE(*world.run(world.greet()) == "1");
    CHECK_FALSE(world.zds.is_ready());
    CHECK(world.pods.here == std::set<std::string>{"a"});
}
