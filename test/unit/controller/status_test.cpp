// The control port's answers, and the command line.
#include "controller/flags.h"
#include "controller/server.h"
#include "controller/status.h"
#include "test/unit/io/calm.h"

#include "test/support/scratch.h"

#include <catch2/catch.hpp>

#include <sys/prctl.h>
#include <unistd.h>

using namespace culvert;
using namespace culvert::controller;
using namespace culvert::test;

namespace {

std::expected<Command, Exit> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "controller");
    return parse_command(static_cast<int>(words.size()), words.data());
}

struct Port {
    Registry metrics;
    Refusals refusals{metrics};
    Board board;
    h1::Response get(const std::string& path, const std::string& method = "GET") {
        h1::Request request;
        request.method = method;
        request.path = path;
        return *test::run(calm.loop, control::answer(all, request));
    }
    test::Calm calm;
    control::Routes all =
        routes({board, refusals, metrics, [] { return std::vector<xds::StreamStatus>(); }, calm.loop});
};

}  // namespace

TEST_CASE("status names problems with file, line, field and fix, nodes, and refusals by reason") {
    Picture picture;
    picture.ready = true;
    picture.problems.push_back({kube::Problem::Severity::error, "m/a.yaml", 7, "Pod shop/web",
                                "spec.nodename", "unknown field \xff", "did you mean nodeName?"});
    picture.objects["Pod"] = 3;
    picture.nodes.push_back({"n1", {{"shop/web", true, ""}, {"shop/old", false, "no_label"}}});
    picture.nodes.push_back({"n2", {}});
    const std::string json = status_json(picture, {{"n1", "ztunnel~1", "ipv4:10.0.0.1:5", true, 2, "bad"}},
                                         {{"token_rejected", 4}});
    for (const char* part :
         {R"("file": "m/a.yaml")", R"("line": 7)", R"("object": "Pod shop/web")",
          R"("field": "spec.nodename")", R"("fix": "did you mean nodeName?")", R"("Pod": 3)",
          R"("connected": true)", R"("connected": false)", R"("enrolled": 1)", R"("reason": "no_label")",
          R"("rejected": 2)", R"("token_rejected": 4)"})
        CHECK(json.find(part) != std::string::npos);
}

TEST_CASE("ready is said when the manifests are in force, and not before") {
    Port port;
    CHECK(port.get("/healthz/ready").status == 500);
    CHECK(port.get("/status").body == "{\"ready\": false}\n");
    auto picture = std::make_shared<Picture>();
    port.board.set(picture);
    CHECK(port.get("/healthz/ready").status == 500);
    picture = std::make_shared<Picture>();
    picture->ready = true;
    port.board.set(picture);
    CHECK(port.get("/healthz/ready").status == 200);
    CHECK(port.get("/status").content_type == "application/json");
    CHECK(port.get("/metrics").body.ends_with("# EOF\n"));
    CHECK(port.get("/stats/prometheus").body.ends_with("# EOF\n"));
    CHECK(port.get("/debug/tasks").status == 200);
    CHECK(port.get("/nothing").status == 404);
    CHECK(port.get("/status", "POST").status == 405);
}

TEST_CASE("refusals are counted by reason, in metrics too") {
    Port port;
    port.refusals.count({Reason::token_rejected, 0, "x"}, "somebody");
    port.refusals.count({Reason::token_rejected, 0, "y"}, "somebody");
    CHECK(port.refusals.list() == std::vector<std::pair<std::string, std::uint64_t>>{{"token_rejected", 2}});
    CHECK(port.get("/metrics").body.find("culvert_controller_refused_total{reason=\"token_rejected\"} 2") !=
          std::string::npos);
}

TEST_CASE("a controller's memory is nobody else's, and its state directory is its own alone [S23]") {
    const Scratch scratch;
    Options options;
    options.state_dir = scratch.path("state");
    options.manifests = scratch.path();
    options.listen = "127.0.0.1:0";
    options.status = "127.0.0.1:0";
    auto first = Server::start(options);
    REQUIRE(first);
    CHECK(::prctl(PR_GET_DUMPABLE) == 0);
    ::prctl(PR_SET_DUMPABLE, 1);  // a sanitizer looks into this process at its end
    auto second = Server::start(options);
    REQUIRE_FALSE(second);
    CHECK(second.error().text == "another controller (process " + std::to_string(::getpid()) + ") uses " +
                                     options.state_dir + ": stop it, or name another --state-dir");
    first->reset();
    CHECK(Server::start(options));
    ::prctl(PR_SET_DUMPABLE, 1);
}

TEST_CASE("the command line teaches, and refuses what it does not know") {
    const auto help = parse({"--help"});
    REQUIRE_FALSE(help);
    CHECK(help.error().code == 0);
    for (const char* word :
         {"--manifests", "--state-dir", "--serving-name", "validate", "/status", "STATE/nodes/NAME"})
        CHECK(help.error().text.find(word) != std::string::npos);
    const auto wrong = parse({"--manifest", "x"});
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == 2);
    CHECK(wrong.error().text.find("--manifest") != std::string::npos);

    const auto command = parse({"--manifests", "m", "--serving-name", "a", "--serving-name", "10.0.0.1",
                                "--trust-domain", "td", "--l7-fail-open"});
    REQUIRE(command);
    CHECK(command->options.manifests == "m");
    CHECK(command->options.serving_names == std::vector<std::string>{"a", "10.0.0.1"});
    CHECK(command->options.mesh.trust_domain == "td");
    CHECK(command->options.mesh.l7_fail_open);
    const auto check = parse({"validate", "dir"});
    REQUIRE(check);
    CHECK(check->verb == Command::Verb::validate);
    CHECK(check->manifests == "dir");
}
