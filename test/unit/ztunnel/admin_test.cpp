// ztunnel's control ports as curl and a kubelet see them.
#include "ztunnel/admin.h"

#include "lib/control/client.h"
#include "lib/io/uring.h"
#include "ztunnel/node.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

using namespace culvert;
using namespace culvert::ztunnel;
using namespace std::chrono_literals;

namespace {

io::Task<Result<std::string>> text(std::string value) { co_return value; }

class Ports {
public:
    Ports()
        : loop_(*io::make_uring()), scope_(loop_), ending_(loop_),
          admin_(loop_, scope_,
                 {.dump = [] { return text("{}"); },
                  .pending = [this] { return pending; },
                  .tasks = [] { return text("nobody"); },
                  .quit = [this] { quits = quits + 1; },
                  .metrics = metrics}) {
        REQUIRE(log::start({.filter = "info"}));
        Config config;
        config.admin = config.stats = config.readiness = *Address::parse("127.0.0.1:0");
        REQUIRE(admin_.listen(config));
        ports = admin_.ports();
        thread_ = std::thread([this] { loop_.run(); });
    }
    ~Ports() {
        loop_.post_message([this] { check(ending_.start(end())); });
        thread_.join();
        log::stop();
    }
    h1::Response ask(std::size_t port, h1::Request request) {
        auto answer =
            control::fetch_blocking({*Ip::parse("127.0.0.1"), ports.at(port)}, std::move(request), 5s);
        REQUIRE(answer);
        return *std::move(answer);
    }

    Registry metrics;
    std::vector<std::string> pending;
    std::atomic<int> quits = 0;
    std::vector<std::uint16_t> ports;

private:
    io::Task<void> end() {
        scope_.cancel();
        co_await scope_.join();
        loop_.stop();
    }
    io::Loop loop_;
    io::Scope scope_;
    io::Scope ending_;
    Admin admin_;
    std::thread thread_;
};

constexpr std::size_t admin = 0, stats = 1, readiness = 2;

}  // namespace

TEST_CASE("the admin port has an index, a dump, and 404 for what it does not know [A-1]", "[admin]") {
    Ports ports;
    CHECK(ports.ask(admin, {}).content_type == "text/html; charset=utf-8");
    CHECK(ports.ask(admin, {.path = "/config_dump"}).content_type == "application/json");
    CHECK(ports.ask(admin, {.path = "/debug/tasks"}).body == "nobody");
    CHECK(ports.ask(admin, {.path = "/nothing"}).status == 404);
}

TEST_CASE("POST /quitquitquit begins the drain, other methods do not [A-2]", "[admin]") {
    Ports ports;
    CHECK(ports.ask(admin, {.path = "/quitquitquit"}).status == 405);
    CHECK(ports.quits == 0);
    CHECK(ports.ask(admin, {.method = "POST", .path = "/quitquitquit"}).body == "shutdown now\n");
    CHECK(ports.quits == 1);
}

TEST_CASE("POST /logging changes the filter and says it; a bad level is 400 with help [A-3]", "[admin]") {
    Ports ports;
    CHECK(ports.ask(admin, {.path = "/logging"}).status == 405);
    CHECK(ports.ask(admin, {.method = "POST", .path = "/logging"}).body == "current log level is info\n");
    CHECK(ports.ask(admin, {.method = "POST", .path = "/logging", .query = "level=access=debug,warn"}).body ==
          "current log level is warn,access=debug\n");
    auto bad = ports.ask(admin, {.method = "POST", .path = "/logging", .query = "level=loud"});
    CHECK(bad.status == 400);
    CHECK(bad.body.find("usage") != std::string::npos);
    CHECK(ports.ask(admin, {.method = "POST", .path = "/logging", .query = "reset"}).body ==
          "current log level is info\n");
}

TEST_CASE("readiness says what it waits for, sorted, and 200 when nothing is left [A-6]", "[admin]") {
    Ports ports;
    CHECK(ports.ask(readiness, {.path = "/healthz/ready"}).body == "ready\n");
    ports.pending = {"workload proxy manager", "state manager"};
    auto waiting = ports.ask(readiness, {.path = "/healthz/ready"});
    CHECK(waiting.status == 500);
    CHECK(waiting.body == "not ready, pending: state manager, workload proxy manager\n");
    CHECK(ports.ask(readiness, {.method = "POST", .path = "/healthz/ready"}).status == 405);
    CHECK(ports.ask(readiness, {.path = "/"}).status == 404);
}

TEST_CASE("metrics are OpenMetrics, and called so when the scraper asks [M-1]", "[admin]") {
    Ports ports;
    ports.metrics.counter("c", "C").add();
    for (auto path : {"/metrics", "/stats/prometheus"}) {
        auto plain = ports.ask(stats, {.path = path});
        CHECK(plain.content_type == "text/plain; charset=utf-8");
        CHECK(plain.body.ends_with("c_total 1\n# EOF\n"));
    }
    auto open =
        ports.ask(stats, {.path = "/metrics",
                          .fields = {{"accept", "application/openmetrics-text; version=1.0.0, */*"}}});
    CHECK(open.content_type == "application/openmetrics-text;charset=utf-8;version=1.0.0");
    CHECK(ports.ask(stats, {.path = "/"}).status == 404);
}

TEST_CASE("a node whose second port is busy says so, and leaves nothing running", "[admin]") {
    Ports ports;
    Config config;
    config.discovery.address = config.authority.address = "https://127.0.0.1:1";
    config.admin = config.readiness = *Address::parse("127.0.0.1:0");
    config.stats = {*Ip::parse("127.0.0.1"), ports.ports.at(admin)};
    auto node = Node::make(config);
    if (!node) FAIL(node.error().to_string());
    auto started = (*node)->start();
    REQUIRE_FALSE(started);
    CHECK(started.error().text.find(config.stats.to_string()) != std::string::npos);
}

TEST_CASE("a busy control port is an error that names it", "[admin]") {
    Ports ports;
    io::Loop loop(*io::make_uring());
    io::Scope scope(loop);
    Registry metrics;
    Admin second(loop, scope, {.metrics = metrics});
    Config config;
    config.admin = {*Ip::parse("127.0.0.1"), ports.ports.at(admin)};
    auto refused = second.listen(config);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().text.find(config.admin.to_string()) != std::string::npos);
}
