// The controller's feed over the memory transport, in virtual time.
#include "lib/xds/memory.h"
#include "test/support/manual_executor.h"
#include "test/unit/xds/values.h"
#include "ztunnel/xds_feed.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using namespace std::chrono_literals;
using xds::Type;

namespace {

struct Anyone final : xds::Authenticator {
    Result<xds::Caller> authenticate(xds::Presented) override { return xds::Caller{"node-1", {}}; }
    Result<Done> still(const xds::Caller&) override { return Done{}; }
};

// Remembers who was asked for; nobody gets anything.
struct DumbCa final : xds::CaTransport {
    void sign(xds::SignRequest request, xds::SignAnswer) override { asked.push_back(request.impersonate); }
    std::vector<std::string> asked;
};

struct World {
    World() {
        for (int i = 0; i < 8; ++i) publisher.set(xds::encode(small_workload(i)));
        publish();
        feed.start();
    }
    ~World() {
        feed.stop();
        executor.advance(1s);
    }
    void publish() { server.publish(publisher.publish()); }
    void set(const mesh::Workload& value) { publisher.set(xds::encode(value)); }
    // Names of the identities that have a line in /config_dump.
    std::vector<std::string> identities() {
        executor.advance(1s);
        std::vector<std::string> names;
        for (const auto& line : certs.list()) names.push_back(line.identity);
        return names;
    }

    ManualExecutor executor;
    Anyone anyone;
    xds::MemoryServer server{executor, {&anyone, nullptr, nullptr}};
    xds::Publisher publisher;
    std::unique_ptr<xds::DeltaTransport> transport = server.delta_transport("");
    Registry metrics;
    DumbCa ca;
    ztunnel::Certs certs{executor, ca, {}, metrics};
    std::vector<mesh::DirectoryPtr> published;
    ztunnel::XdsFeed feed{
        executor, *transport, {"ztunnel~1", "", {}},
        "node-1", certs,      [this](mesh::DirectoryPtr next) { published.push_back(std::move(next)); },
        metrics};
};

std::string spiffe(const std::string& account) { return "spiffe://cluster.local/ns/shop/sa/" + account; }

mesh::Workload local(int number, const std::string& account) {
    mesh::Workload value = small_workload(number);
    value.node = "node-1";
    value.service_account = account;
    return value;
}

}  // namespace

TEST_CASE("the feed is ready when every type has come, and the directory says so [X-12]", "[xds]") {
    World world;
    REQUIRE_FALSE(world.feed.is_ready());
    world.executor.advance(1s);
    REQUIRE(world.feed.is_ready());
    REQUIRE(world.feed.is_connected());
    mesh::DirectoryPtr directory = world.published.back();
    REQUIRE(directory->workloads() == 8);
    REQUIRE(directory->synced().addresses);
    REQUIRE(directory->synced().policies);
}

TEST_CASE("the directory stays in force while the controller is away, and follows when it is back", "[xds]") {
    World world;
    world.executor.advance(1s);
    world.server.set_up(false);
    world.executor.advance(5min);
    REQUIRE_FALSE(world.feed.is_connected());
    REQUIRE(world.feed.is_ready());
    REQUIRE(world.published.back()->workloads() == 8);
    world.publisher.remove(Type::address, xds::name_of(small_workload(2)));
    world.publish();
    world.server.set_up(true);
    world.executor.advance(20s);
    REQUIRE(world.feed.is_connected());
    REQUIRE(world.published.back()->workloads() == 7);
    std::string text = world.metrics.render();
    REQUIRE(text.find("culvert_directory_workloads 7\n") != text.npos);
    REQUIRE(text.find("culvert_controller_connected 1\n") != text.npos);
}

TEST_CASE("an older snapshot that somebody holds never changes", "[xds]") {
    World world;
    world.executor.advance(1s);
    mesh::DirectoryPtr before = world.published.back();
    world.publisher.remove(Type::address, xds::name_of(small_workload(1)));
    world.publish();
    world.executor.advance(1s);
    REQUIRE(before->workloads() == 8);
    REQUIRE(world.published.back()->workloads() == 7);
}

TEST_CASE("certificates are fetched for HBONE and native workloads of this node only [CA-11]",
          "[xds][certs]") {
    World world;
    REQUIRE(world.identities() == std::vector{spiffe("default")});  // pods 1 and 5 stand on node-1
    mesh::Workload plain = local(20, "plain"), native = local(21, "native"), away = local(22, "away");
    plain.tunnel_protocol = native.tunnel_protocol = mesh::TunnelProtocol::none;
    native.native_tunnel = true;
    away.node = "node-2";
    for (const auto& each : {plain, native, away}) world.set(each);
    world.publish();
    REQUIRE(world.identities() == std::vector{spiffe("default"), spiffe("native")});
    REQUIRE(world.ca.asked == std::vector{spiffe("default"), spiffe("native")});
}

TEST_CASE("an identity is forgotten with its last local workload [CA-11]", "[xds][certs]") {
    World world;
    world.set(local(20, "web"));
    world.set(local(21, "web"));
    world.publish();
    REQUIRE(world.identities().size() == 2);
    world.publisher.remove(Type::address, xds::name_of(small_workload(20)));
    world.publish();
    REQUIRE(world.identities().size() == 2);
    SECTION("removed") { world.publisher.remove(Type::address, xds::name_of(small_workload(21))); }
    SECTION("moved to another node") {
        mesh::Workload moved = local(21, "web");
        moved.node = "node-3";
        world.set(moved);
    }
    SECTION("no longer in the mesh") {
        mesh::Workload left = local(21, "web");
        left.tunnel_protocol = mesh::TunnelProtocol::none;
        world.set(left);
    }
    SECTION("under another account") { world.set(local(21, "default")); }
    world.publish();
    REQUIRE(world.identities() == std::vector{spiffe("default")});
}
