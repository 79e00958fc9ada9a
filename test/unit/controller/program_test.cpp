// The real program on loopback: its nodes, its files, its end. Clients are lib/xds over gRPC with TLS.
#include "lib/control/client.h"
#include "lib/tls/authority.h"
#include "lib/tls/credentials.h"
#include "lib/xds/grpc_client.h"
#include "lib/xds/report_session.h"
#include "lib/xds/session.h"
#include "test/support/child.h"
#include "test/support/control_plane.h"
#include "test/support/scratch.h"

#include <catch2/catch.hpp>

#include <csignal>
#include <fstream>
#include <future>

using namespace culvert;
using namespace culvert::test;

namespace {

std::uint16_t number_after(const std::string& line, const std::string& name) {
    const std::size_t at = line.find(name + "=");
    return at == line.npos ? std::uint16_t{0}
                           : static_cast<std::uint16_t>(std::stoul(line.substr(at + name.size() + 1)));
}

// A controller over a directory of manifests; may be ended and started again.
class Controller {
public:
    Controller() {
        std::filesystem::create_directory(scratch.path("m"));
        put("nodes", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\n"
                     "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n");
        put("a", pod("a", "n1", "web"));
        put("b", pod("b", "n2", "db"));
        start();
    }
    void start() {
        child.emplace(std::vector<std::string>{
            CULVERT_CONTROLLER, "--manifests", scratch.path("m"), "--state-dir", scratch.path("state"),
            "--listen", "localhost:" + std::to_string(port), "--status", "127.0.0.1:0"});
        for (;;) {
            auto line = child->line();
            REQUIRE(line);
            INFO(*line);
            if (line->find("\tready\t") == line->npos) continue;
            port =
                number_after(*line, " port") ? number_after(*line, " port") : number_after(*line, "\tport");
            if (!port) port = number_after(*line, "port");
            status_port = number_after(*line, "status_port");
            break;
        }
        REQUIRE(status_port);
        REQUIRE(happened.wait([&] { return get("/healthz/ready").status == 200; }));
    }
    static std::string pod(const std::string& name, const std::string& node, const std::string& account,
                           const std::string& more = "") {
        return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop, uid: uid-" + name +
               more + "}\nspec: {nodeName: " + node + ", serviceAccountName: " + account + "}\n" +
               "status: {podIPs: [{ip: 10.0.0." + std::to_string(name[0]) + "}]}\n";
    }
    // Reads on in its log until a line says so; an end without it is false.
    bool logged(const std::string& what) {
        while (auto line = child->line())
            if (line->find(what) != line->npos) return true;
        return false;
    }
    void put(const std::string& name, const std::string& text) {
        std::ofstream(scratch.path("m/.draft")) << text;
        std::filesystem::rename(scratch.path("m/.draft"), scratch.path("m/" + name + ".yaml"));
    }
    h1::Response get(const std::string& path) {
        h1::Request request;
        request.path = path;
        auto response = control::fetch_blocking({*Ip::parse("127.0.0.1"), status_port}, request,
                                                std::chrono::seconds(10));
        return response ? *std::move(response)
                        : h1::Response{.status = 0, .body = response.error().to_string()};
    }
    xds::Endpoint endpoint(const std::string& node) const {
        xds::Endpoint out;
        out.address = "https://localhost:" + std::to_string(port);
        out.root_ca = scratch.path("state/nodes/" + node + "/root-cert.pem");
        out.token = scratch.path("state/nodes/" + node + "/token");
        return out;
    }

    Scratch scratch;
    Happened happened;
    std::optional<Child> child;
    std::uint16_t port = 0;
    std::uint16_t status_port = 0;
};

// A node proxy's view: each name with how it arrived last, and how many resources came at all.
struct Node final : xds::DeltaSession::Listener {
    Node(Controller& of, const std::string& name)
        : happened(of.happened), transport(xds::grpc_delta_transport(executor, of.endpoint(name))),
          session(executor, *transport, {"ztunnel~1.1.1.1~z.x~x", "", {{"NODE_NAME", {name, false}}}}, *this,
                  metrics) {
        executor.post([this] { session.start(); });
    }
    ~Node() {
        std::promise<void> done;
        executor.post([&] {
            session.stop();
            done.set_value();
        });
        done.get_future().wait();
        executor.stop();
    }
    void delta(mesh::Delta delta) override {
        const std::lock_guard hold(lock);
        received += delta.addresses.size() + delta.policies.size();
        removed += delta.removed_addresses.size() + delta.removed_policies.size();
        now = writer.apply(delta);
        happened.notify();
    }
    void ready() override {}
    void connected(bool is) override {
        if (is) ++streams;
        happened.notify();
    }
    mesh::DirectoryPtr directory() {
        const std::lock_guard hold(lock);
        return now;
    }
    bool sees(const std::function<bool(const mesh::Directory&)>& holds) {
        return happened.wait([&] {
            const auto current = directory();
            return current && current->synced().all() && holds(*current);
        });
    }

    Happened& happened;
    std::mutex lock;
    mesh::DirectoryWriter writer;
    mesh::DirectoryPtr now;
    std::size_t received = 0, removed = 0;
    std::atomic<int> streams = 0;
    Registry metrics;
    xds::ThreadExecutor executor{"node", system_clock()};
    std::unique_ptr<xds::DeltaTransport> transport;
    xds::DeltaSession session;
};

constexpr const char* pod_a = "Kubernetes//Pod/shop/a";

bool hbone(const mesh::Directory& directory) {
    const auto pod = directory.workload(pod_a);
    return pod && (*pod)->tunnel_protocol == mesh::TunnelProtocol::hbone;
}

Result<std::vector<std::string>> sign(const xds::Endpoint& endpoint, const std::string& account) {
    xds::ThreadExecutor executor("ca", system_clock());
    auto ca = xds::grpc_ca_transport(executor, endpoint);
    const mesh::Identity identity{"cluster.local", "shop", account};
    const auto key = tls::PrivateKey::generate().value();
    std::promise<Result<std::vector<std::string>>> answer;
    executor.post([&] {
        ca->sign({tls::make_csr(key, identity).value(), std::chrono::hours(1), identity.to_string()},
                 [&](auto chain) { answer.set_value(std::move(chain)); });
    });
    auto chain = answer.get_future().get();
    executor.stop();
    return chain;
}

// An agent that says once what it has to say.
void report(Controller& controller, const std::string& node, std::vector<xds::PodReport> pods) {
    xds::ThreadExecutor executor("agent", system_clock());
    auto transport = xds::grpc_report_transport(executor, controller.endpoint(node));
    xds::ReportSession session(executor, *transport, node);
    executor.post([&] {
        for (xds::PodReport& one : pods) session.set(std::move(one));
        session.start();
    });
    REQUIRE(controller.happened.wait([&] {
        std::promise<bool> in_sync;
        executor.post([&] { in_sync.set_value(session.in_sync()); });
        return in_sync.get_future().get();
    }));
    std::promise<void> done;
    executor.post([&] {
        session.stop();
        done.set_value();
    });
    done.get_future().wait();
    executor.stop();
}

const std::string policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                           "metadata: {name: p, namespace: shop}\nspec: {action: DENY, rules: [{}]}\n";

}  // namespace

TEST_CASE("a node gets the mesh, then only what a changed file changed, without a restart", "[program]") {
    Controller controller;
    Node node(controller, "n1");
    REQUIRE(node.sees([](const auto& d) { return d.workloads() == 2; }));
    CHECK(node.received == 2);
    controller.put("p", policy);
    REQUIRE(node.sees([](const auto& d) { return d.policy("shop/p") != nullptr; }));
    CHECK(controller.logged("AuthorizationPolicy shop/p is new"));
    CHECK(controller.logged("added=1 changed=0 removed=0"));
    CHECK(node.received == 3);
    controller.put("a", Controller::pod("a", "n1", "web", ", labels: {app: new}"));
    REQUIRE(node.sees([](const auto& d) { return (*d.workload(pod_a))->canonical_name == "new"; }));
    CHECK(node.received == 4);
    // A bad file: the last good objects stay, status says where and what, and nothing is sent.
    controller.put("p", policy + "colour: red\n");
    REQUIRE(controller.happened.wait(
        [&] { return controller.get("/status").body.find("colour") != std::string::npos; }));
    CHECK(controller.logged("colour: unknown field (the version before stays in force)"));
    std::filesystem::remove(controller.scratch.path("m/b.yaml"));
    REQUIRE(node.sees([](const auto& d) { return d.workloads() == 1; }));
    CHECK(node.received == 4);
    CHECK(node.removed == 1);
    CHECK(node.directory()->policy("shop/p"));
    CHECK(controller.child->end(SIGTERM) == 0);
}

TEST_CASE("a wrong token is refused and counted", "[program]") {
    Controller controller;
    xds::Endpoint stranger = controller.endpoint("n1");
    stranger.token = "no.such.token";
    CHECK_FALSE(sign(stranger, "web"));
    REQUIRE(controller.happened.wait(
        [&] { return controller.get("/status").body.find("\"token_rejected\": 1") != std::string::npos; }));
    CHECK(controller.get("/metrics").body.find("reason=\"token_rejected\"") != std::string::npos);
}

TEST_CASE("a node gets certificates for its own pods and for no other node's [CA-6]", "[program]") {
    Controller controller;
    CHECK(sign(controller.endpoint("n1"), "web"));
    CHECK(sign(controller.endpoint("n2"), "db"));
    const auto refused = sign(controller.endpoint("n1"), "db");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == Reason::ca_rejected);
    REQUIRE(controller.happened.wait(
        [&] { return controller.get("/status").body.find("\"ca_rejected\": 1") != std::string::npos; }));
}

TEST_CASE("enrolment reaches nodes by report, and survives kill -9 of the controller with root and tokens",
          "[program]") {
    Controller controller;
    Node node(controller, "n2");
    REQUIRE(node.sees([](const auto& d) { return d.workload(pod_a) && !hbone(d); }));
    report(controller, "n1", {{"uid-a", "shop", "a", true, "", false}});
    REQUIRE(node.sees(hbone));
    REQUIRE(controller.happened.wait(
        [&] { return controller.get("/status").body.find("\"enrolled\": 1") != std::string::npos; }));

    auto read = [&](const std::string& name) {
        std::ifstream file(controller.scratch.path("state/" + name));
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const std::string root = read("root-cert.pem");
    const std::size_t received = node.received;
    CHECK(controller.child->end(SIGKILL) == -SIGKILL);
    controller.put("c", Controller::pod("c", "n1", "web"));
    controller.start();
    CHECK(read("root-cert.pem") == root);
    // The node comes back with what it has and hears of the difference alone.
    REQUIRE(node.sees([](const auto& d) { return d.workloads() == 3; }));
    CHECK(node.streams == 2);
    CHECK(node.received == received + 1);
    CHECK(node.removed == 0);
    CHECK(hbone(*node.directory()));
}

TEST_CASE("what cannot work at the start is said in a sentence with exit code 1", "[program]") {
    Controller controller;
    const std::string busy = "localhost:" + std::to_string(controller.port);
    Scratch other;
    Child second({CULVERT_CONTROLLER, "--manifests", other.path(), "--state-dir", other.path("state"),
                  "--listen", busy, "--status", "127.0.0.1:0"});
    CHECK(second.end(0) == 1);
    Child lost(
        {CULVERT_CONTROLLER, "--manifests", other.path(), "--state-dir", other.path("no/such/parent")});
    CHECK(lost.end(0) == 1);
    std::filesystem::permissions(controller.scratch.path("state"), std::filesystem::perms(0755));
    Child open(
        {CULVERT_CONTROLLER, "--manifests", other.path(), "--state-dir", controller.scratch.path("state")});
    CHECK(open.end(0) == 1);
    // A mistyped directory makes nothing: no root key, and no word of being ready.
    Child nowhere(
        {CULVERT_CONTROLLER, "--manifests", other.path("none"), "--state-dir", other.path("fresh")});
    CHECK(nowhere.end(0) == 1);
    CHECK_FALSE(std::filesystem::exists(other.path("fresh")));
}

TEST_CASE("a flag that makes no sense is named, with exit code 2", "[program]") {
    Scratch other;
    for (const auto& [flag, value] :
         std::vector<std::pair<std::string, std::string>>{{"--listen", "127.0.0.1:99999"},
                                                          {"--listen", "foo"},
                                                          {"--status", "127.0.0.1"},
                                                          {"--trust-domain", "bad/domain"},
                                                          {"--trust-domain", "Upper"},
                                                          {"--cluster-domain", "no good"}}) {
        INFO(flag << " " << value);
        Child child({CULVERT_CONTROLLER, "--manifests", other.path(), "--state-dir", other.path("state"),
                     flag, value});
        CHECK(child.end(0) == 2);
    }
    CHECK_FALSE(std::filesystem::exists(other.path("state")));
}

TEST_CASE("validate prints what is wrong and exits with 1 if anything is", "[program]") {
    Controller controller;
    controller.put("space", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    Child good({CULVERT_CONTROLLER, "validate", controller.scratch.path("m")});
    CHECK(good.line() == "5 objects in force");
    CHECK(good.end(0) == 0);
    controller.put("p", policy + "colour: red\n");
    Child bad({CULVERT_CONTROLLER, "validate", controller.scratch.path("m")});
    CHECK(bad.line() == controller.scratch.path("m/p.yaml") +
                            ":5: error: AuthorizationPolicy shop/p: colour: unknown field; remove it");
    CHECK(bad.end(0) == 1);
}
