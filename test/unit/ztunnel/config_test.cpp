#include "ztunnel/config.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ztunnel;
using namespace std::chrono_literals;

namespace {

Result<Config> read(const Environment& environment) {
    return read_config(
        environment,
        {.cpus = 8, .resolv_conf = "# x\nnameserver 10.0.0.2\nnameserver fd00::2 # y\nsearch a\n"});
}

}  // namespace

TEST_CASE("captured DNS is answered unless proxy metadata says otherwise [D-1]", "[config]") {
    CHECK(read({})->doors.dns);
    CHECK(read({{"ISTIO_META_DNS_CAPTURE", "TRUE"}})->doors.dns);
    CHECK_FALSE(read({{"ISTIO_META_DNS_CAPTURE", "false"}})->doors.dns);
}

TEST_CASE("an empty environment yields Istio's defaults [X-1, X-3, X-4]", "[config]") {
    auto config = read({});
    REQUIRE(config);
    CHECK(config->discovery.address == "https://localhost:15012");
    CHECK(config->authority.address == config->discovery.address);
    CHECK(config->discovery.root_ca == "./var/run/secrets/istio/root-cert.pem");
    CHECK(config->discovery.token == "./var/run/secrets/tokens/istio-token");
    CHECK(config->secret_ttl == 24h);
    CHECK(config->zds_path == "/var/run/ztunnel/ztunnel.sock");
    CHECK(config->admin == *Address::parse("127.0.0.1:15000"));
    CHECK(config->stats == *Address::parse("[::]:15020"));
    CHECK(config->readiness == *Address::parse("[::]:15021"));
    CHECK(config->workers == 2);
    CHECK(config->drain == 5s);
    CHECK(config->doors.announce);
    CHECK(config->doors.resolvers ==
          std::vector{*Address::parse("10.0.0.2:53"), *Address::parse("[fd00::2]:53")});
    CHECK(read({{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}})->discovery.address ==
          "https://istiod.istio-system.svc:15012");
}

TEST_CASE("a token that looks like a path is one: it must be there", "[config]") {
    auto config = read({{"AUTH_TOKEN", "/none/such"}});
    REQUIRE_FALSE(config);
    CHECK(config.error().text.find("AUTH_TOKEN='/none/such': expected a file that exists") !=
          std::string::npos);
    CHECK(read({{"AUTH_TOKEN", "/proc/self/status"}}));
    CHECK(read({{"AUTH_TOKEN", "eyJh.eyJz.c2ln"}}));
}

TEST_CASE("what is set wins, and certificates follow discovery unless they say otherwise [CA-1]",
          "[config]") {
    auto config = read({{"XDS_ADDRESS", "https://c:1"},
                        {"ALT_XDS_HOSTNAME", "alt"},
                        {"XDS_HEADER_FOO", "1"},
                        {"CA_HEADER_BAR", "2"}});
    REQUIRE(config);
    CHECK(config->authority.address == "https://c:1");
    CHECK(config->authority.alternative_name == "alt");
    CHECK(config->discovery.headers == std::vector<std::pair<std::string, std::string>>{{"foo", "1"}});
    CHECK(config->authority.headers == std::vector<std::pair<std::string, std::string>>{{"bar", "2"}});
    CHECK(read({{"CA_ADDRESS", "https://d:2"}, {"XDS_ADDRESS", "https://c:1"}})->authority.address ==
          "https://d:2");
}

TEST_CASE("the drain time leaves the orchestrator its own delays", "[config]") {
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "30"}})->drain == 25s);
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "10"}})->drain == 9s);
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "1"}})->drain == 1s);
    CHECK(read({{"TERMINATION_GRACE_PERIOD_SECONDS", "30"}, {"CONNECTION_TERMINATION_DEADLINE", "1m30s"}})
              ->drain == 90s);
}

TEST_CASE("worker threads: a number, a share, all, or a quarter and at least two", "[config]") {
    CHECK(worker_threads("3", 8) == 3);
    CHECK(worker_threads("30%", 8) == 3);
    CHECK(worker_threads("1%", 8) == 1);
    CHECK(worker_threads("0", 8) == 8);
    CHECK(worker_threads("auto", 2) == 2);
    CHECK(worker_threads("auto", 64) == 16);
    for (auto bad : {"", "x", "-1", "101%", "1.5", "5000"}) CHECK(worker_threads(bad, 8) == 0);
}

TEST_CASE("a malformed value is refused with its variable, its text and what is expected", "[config]") {
    const std::pair<const char*, const char*> cases[] = {{"SECRET_TTL", "tomorrow"},
                                                         {"SECRET_TTL", "10"},
                                                         {"IPV6_ENABLED", "yes"},
                                                         {"PACKET_MARK", "0x539"},
                                                         {"ADMIN_ADDR", "15000"},
                                                         {"CULVERT_RESOLVERS", "a:53"},
                                                         {"CULVERT_MESH_RANGES", "10/8"},
                                                         {"ZTUNNEL_WORKER_THREADS", "many"},
                                                         {"POOL_MAX_STREAMS_PER_CONNECTION", "100000"},
                                                         {"CULVERT_TLS_SUITES", "RC4"},
                                                         {"CRL_PATH", "/x"},
                                                         {"TLS12_ENABLED", "true"}};
    for (auto [name, value] : cases) {
        auto config = read({{name, value}});
        INFO(name);
        REQUIRE_FALSE(config);
        CHECK(config.error().reason == Reason::bad_configuration);
        CHECK(config.error().text.find(std::string(name) + "='" + value + "': expected") == 0);
    }
}

TEST_CASE("what says yes or no, or names a format, is nothing else", "[config]") {
    for (const char* name : {"ISTIO_META_DNS_CAPTURE", "IPV6_ENABLED", "LOG_FORMAT"}) {
        auto refused = read({{name, "xml"}});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().text.starts_with(std::string(name) + "='xml': expected "));
    }
    CHECK(read({{"LOG_FORMAT", "json"}})->log.json);
    CHECK_FALSE(read({{"IPV6_ENABLED", "False"}})->doors.ipv6);
}

TEST_CASE("ports of capture are left alone where the agent is ours [S8]", "[config]") {
    CHECK(read({})->settings.around.is_ztunnel_port(15104));
    CHECK_FALSE(read({{"PACKET_MARK", "1337"}})->settings.around.is_ztunnel_port(15104));
}

TEST_CASE("the help names every variable once", "[config]") {
    std::string help = config_help();
    for (auto name : {"XDS_ADDRESS", "SECRET_TTL", "CULVERT_RESOLVERS", "LOG_FORMAT"})
        CHECK(help.find(name) != std::string::npos);
}
