// Discovery and certificates judged by somebody else: grpcio with stubs made from statements of the wire of
// their own (test/peers/xds). Both roles.
#include "lib/xds/node.h"
#include "lib/xds/session.h"
#include "test/support/child.h"
#include "test/support/control_plane.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <future>

using namespace culvert;
using namespace culvert::test;
using xds::Type;

namespace {

constexpr const char* python = "/usr/bin/python3";

std::string script(const std::string& name) { return "test/peers/xds/" + name; }

// What our client has been told, as directories.
struct Directory final : xds::DeltaSession::Listener {
    void delta(mesh::Delta delta) override {
        mesh::DirectoryPtr next = writer.apply(delta);
        std::lock_guard hold(lock);
        now = std::move(next);
    }
    void ready() override { is_ready = true; }
    void connected(bool) override {}
    mesh::DirectoryPtr get() {
        std::lock_guard hold(lock);
        return now;
    }

    mesh::DirectoryWriter writer;
    std::mutex lock;
    mesh::DirectoryPtr now;
    std::atomic<bool> is_ready = false;
};

template <class Work> void on(xds::Executor& executor, Work work) {
    std::promise<void> done;
    executor.post([&] {
        work();
        done.set_value();
    });
    done.get_future().wait();
}

using Got = Result<std::shared_ptr<const tls::Credential>>;

Got certificate(xds::CaTransport& ca, xds::Executor& executor, const std::string& account) {
    mesh::Identity identity{"cluster.local", "shop", account};
    tls::PrivateKey key = tls::PrivateKey::generate().value();
    std::promise<Result<std::vector<std::string>>> answer;
    executor.post([&] {
        xds::SignRequest request{tls::make_csr(key, identity).value(), std::chrono::hours(1),
                                 identity.to_string()};
        ca.sign(std::move(request), [&](auto chain) { answer.set_value(std::move(chain)); });
    });
    auto chain = answer.get_future().get();
    if (!chain) return refuse(std::move(chain));
    return tls::Credential::from_response(std::move(key), *chain, identity, system_clock().wall());
}

// The Python controller, and an endpoint that reaches it.
struct PeerController {
    PeerController() {
        auto serving = authority.serving(std::vector<std::string>{"localhost"}, std::chrono::hours(1),
                                         system_clock().wall());
        std::ofstream(scratch.path("key.pem")) << serving->key.reveal();
        std::ofstream(scratch.path("cert.pem")) << serving->chain;
        std::ofstream(scratch.path("roots.pem")) << authority.root().pem;
        child.emplace(std::vector<std::string>{python, script("server.py"), scratch.path("key.pem"),
                                               scratch.path("cert.pem"), "the-token"});
        std::string said = child->line().value_or("nothing");
        INFO(said);
        REQUIRE(said.starts_with("port "));
        endpoint.address = "https://localhost:" + said.substr(5);
        endpoint.root_ca = scratch.path("roots.pem");
        endpoint.token = "the-token";
        endpoint.headers = {{"x-team", "blue"}};
    }

    Scratch scratch;
    tls::Authority authority =
        tls::Authority::open(scratch.path(), "cluster.local", system_clock().wall()).value();
    std::optional<Child> child;
    xds::Endpoint endpoint;
};

}  // namespace

TEST_CASE(
    "our discovery client satisfies a foreign controller [X-1][X-2][X-4][X-6][X-7][X-8][X-9][X-10][X-11]",
    "[peer]") {
    PeerController peer;
    Registry metrics;
    Directory directory;
    xds::ThreadExecutor executor("xds", system_clock());
    auto transport = xds::grpc_delta_transport(executor, peer.endpoint);
    xds::NodeFacts facts{"10.9.8.7", "z", "istio-system",
                         "n1",       {},  {{"ISTIO_META_X", "y"}, {"ISTIO_METAJSON_LABELS", R"({"a": 1})"}}};
    xds::DeltaSession session(executor, *transport, xds::proxy_node(facts).value(), directory, metrics);
    on(executor, [&] { session.start(); });
    REQUIRE(peer.child->line() == "ok");
    on(executor, [&] { session.stop(); });

    REQUIRE(directory.is_ready);
    mesh::DirectoryPtr now = directory.get();
    REQUIRE(now->workloads() == 1);
    mesh::WorkloadPtr workload = now->workload("Kubernetes//Pod/shop/web-1");
    REQUIRE(workload);
    mesh::Workload value = workload->value();
    REQUIRE(value.addresses == std::vector{*Ip::parse("10.0.0.1"), *Ip::parse("::1")});
    REQUIRE(value.identity().to_string() == "spiffe://example.org/ns/shop/sa/web");
    REQUIRE(value.waypoint->destination_text() == "shop/waypoint");
    REQUIRE(value.services.at({"shop", "web.shop.svc.cluster.local"}).at(0).target_port == 8080);
    REQUIRE(value.capacity == 3);
    mesh::PolicyPtr policy = now->policy("shop/p");
    REQUIRE(policy);
    executor.stop();
}

TEST_CASE("our certificate client satisfies a foreign CA [CA-1][CA-2][CA-3][CA-4][CA-5]", "[peer]") {
    PeerController peer;
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, peer.endpoint);
    Got good = certificate(*ca, executor, "web");
    INFO((good ? "" : good.error().to_string()));
    REQUIRE(good);
    REQUIRE((*good)->chain().size() == 2);
    REQUIRE((*good)->roots().size() == 2);
    REQUIRE(certificate(*ca, executor, "other").error().reason == Reason::tls_identity);
    REQUIRE(certificate(*ca, executor, "lonely").error().reason == Reason::no_certificate);
    Got denied = certificate(*ca, executor, "denied");
    REQUIRE(denied.error().reason == Reason::ca_rejected);
    REQUIRE(denied.error().text == "request impersonation authentication failure");
    executor.stop();
}

TEST_CASE("our server satisfies a foreign node proxy "
          "[X-1][X-4][X-6][X-7][X-8][X-9][X-15][X-16][X-17][X-18][X-19][CA-1][CA-4][CA-6]",
          "[peer]") {
    ControlPlane plane;
    plane.allow("spiffe://cluster.local/ns/shop/sa/web");
    xds::Publisher publisher;
    publisher.set(xds::encode(full_workload()));
    publisher.set(xds::encode(small_workload(2)));
    publisher.set(xds::encode(full_service()));
    publisher.set(xds::encode(full_policy()));
    plane.publish(publisher.publish());

    Child child({python, script("client.py"), std::to_string(plane.server().port()),
                 plane.path("root-cert.pem"), plane.token("n1")});
    std::string said;
    for (;;) {
        said = child.line().value_or("nothing");
        if (!said.starts_with("do ")) break;
        mesh::Workload changed = full_workload();
        changed.capacity = 8;
        if (said == "do change-pod-2") publisher.set(xds::encode(small_workload(2, 1)));
        if (said == "do change-pod-1") publisher.set(xds::encode(changed));
        if (said == "do remove-service") publisher.remove(Type::address, xds::name_of(full_service()));
        plane.publish(publisher.publish());
        child.say("done");
    }
    REQUIRE(said == "ok");
    REQUIRE(plane.refused("token_rejected") == 3);
    REQUIRE(plane.metrics.counter("culvert_xds_nacks", "", {{"type", "address"}}).value() == 1);
}
