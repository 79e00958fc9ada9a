// Words of the command line to settings.
#include "agent/flags.h"

#include <catch2/catch.hpp>
#include <filesystem>

using namespace culvert;
using agent::Command;
using agent::Settings;

namespace {

Result<Settings> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "agent");
    return agent::parse_flags(static_cast<int>(words.size()), words.data());
}

std::string complaint(std::vector<const char*> words) {
    Result<Settings> settings = parse(std::move(words));
    REQUIRE_FALSE(settings);
    CHECK(settings.error().reason == Reason::bad_configuration);
    return settings.error().text;
}

}  // namespace

TEST_CASE("a node name and manifests are all that is needed; the rest has defaults of one node a machine",
          "[flags]") {
    Result<Settings> settings = parse({"--node-name", "n1", "--manifests", "/etc/mesh"});
    REQUIRE(settings);
    CHECK(settings->command == Command::run);
    CHECK(settings->run_directory == "/run/culvert");
    CHECK(settings->bpffs == "/run/culvert/bpf");
    CHECK(settings->zds_path == "/var/run/ztunnel/ztunnel.sock");
    CHECK(settings->control.to_string() == "127.0.0.1:15019");
    CHECK(settings->capture_group.empty());
    CHECK(settings->adopt_ztunnel);
    CHECK(settings->membership.dns_capture);
    CHECK(settings->sweeping == agent::Sweeping::strict);
    CHECK_FALSE(settings->probe_all_ports);
}

TEST_CASE("paths are made absolute, since the agent's directory is nobody's business", "[flags]") {
    Result<Settings> settings = parse({"--node-name", "n1", "--manifests", "mesh", "--run-dir", "run"});
    REQUIRE(settings);
    CHECK(settings->manifests == (std::filesystem::current_path() / "mesh").string());
    CHECK(settings->bpffs == (std::filesystem::current_path() / "run/bpf").string());
}

TEST_CASE("every choice has its words", "[flags]") {
    Result<Settings> settings =
        parse({"--node-name", "n1", "--manifests", "/m", "--dns-capture", "false", "--probe-ports", "all",
               "--cut-connections", "always", "--exclude-namespace", "kube-system", "--exclude-namespace",
               "istio-system", "--ztunnel-program", "any", "--no-adopt-ztunnel", "--control", "[::1]:9"});
    REQUIRE(settings);
    CHECK_FALSE(settings->membership.dns_capture);
    CHECK(settings->probe_all_ports);
    CHECK(settings->sweeping == agent::Sweeping::always);
    CHECK(settings->membership.excluded_namespaces.size() == 2);
    CHECK(settings->ztunnel_program.empty());
    CHECK_FALSE(settings->adopt_ztunnel);
    CHECK(settings->control.to_string() == "[::1]:9");
}

TEST_CASE("what is wrong is named, with the way to the list of flags", "[flags]") {
    CHECK(complaint({"--manifests", "/m"}).find("--node-name") != std::string::npos);
    CHECK(complaint({"--node-name", "n1"}).find("--manifests") != std::string::npos);
    CHECK(complaint({"--node-nmae", "n1"}).find("--node-nmae") != std::string::npos);
    CHECK(complaint({"--node-nmae", "n1"}).find("agent --help") != std::string::npos);
    CHECK(complaint({"--control", "here"}).find("no ADDRESS:PORT") != std::string::npos);
    CHECK(complaint({"--cut-connections", "sometimes"}).find("--cut-connections") != std::string::npos);
    CHECK(complaint({"--ztunnel-program", "/none/such"}).find("/none/such") != std::string::npos);
    CHECK(complaint({"precheck", "-o", "yaml"}).find("--output") != std::string::npos);
}

TEST_CASE("a controller is believed by its root and asked with a token: both are needed", "[flags]") {
    CHECK(complaint({"--node-name", "n1", "--manifests", "/m", "--controller", "c:15012"})
              .find("--root-cert") != std::string::npos);
    CHECK(complaint({"--node-name", "n1", "--manifests", "/m", "--controller", "c:15012", "--token", "t"})
              .find("--root-cert") != std::string::npos);
    CHECK(parse({"--node-name", "n1", "--manifests", "/m", "--controller", "c:15012", "--token", "t",
                 "--root-cert", "r"}));
}

TEST_CASE("localhost is an address, a port beyond 65535 is none", "[flags]") {
    CHECK(
        parse({"--node-name", "n1", "--manifests", "/m", "--control", "localhost:9"})->control.to_string() ==
        "127.0.0.1:9");
    CHECK(complaint({"--node-name", "n1", "--manifests", "/m", "--control", "127.0.0.1:99999"})
              .find("no ADDRESS:PORT") != std::string::npos);
}

TEST_CASE("precheck and uninstall need no node name", "[flags]") {
    CHECK(parse({"precheck"})->command == Command::precheck);
    CHECK_FALSE(parse({"precheck"})->json);
    CHECK(parse({"precheck", "-o", "json"})->json);
    Result<Settings> settings = parse({"uninstall", "--run-dir", "/run/other"});
    REQUIRE(settings);
    CHECK(settings->command == Command::uninstall);
    CHECK(settings->bpffs == "/run/other/bpf");
    CHECK_FALSE(settings->force);
    CHECK(parse({"uninstall", "--force"})->force);
}
