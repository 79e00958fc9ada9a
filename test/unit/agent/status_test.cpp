// What the agent shows, and that the command line understands it: both ends of the JSON of /status.
#include "agent/json.h"
#include "cli/status.h"

#include <catch2/catch.hpp>

using namespace culvert;
using agent::Membership;
using agent::PodStatus;
using agent::Status;
using agent::Step;

namespace {

PodStatus pod(std::string name, Membership membership) {
    PodStatus status;
    status.spec.name_space = "shop";
    status.spec.name = std::move(name);
    status.spec.membership = membership;
    return status;
}

Status healthy() {
    Status status;
    status.node = "node1";
    PodStatus inside = pod("cart", Membership::member);
    inside.enrolled = true;
    inside.step = Step::enrolled;
    PodStatus outside = pod("job", Membership::not_labelled);
    outside.reason = "not_labelled";
    status.pods = {inside, outside};
    return status;
}

cli::Report shown(const Status& status) {
    cli::Answers answers;
    answers.agent = cli::Json::parse(agent::to_json(status));
    answers.controller = cli::Json::parse(R"({"problems":[],"nodes":[]})");
    answers.ztunnel = cli::Json::parse(R"({"certificates":[]})");
    answers.ready = "ready";
    REQUIRE(answers.agent);
    return cli::report_status(answers);
}

bool says(const cli::Report& report, std::string_view text) {
    return report.text.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("a node whose pods are as they should be is healthy, also with pods outside the mesh", "[status]") {
    CHECK(shown(healthy()).healthy);
    CHECK(says(shown(healthy()), "not_labelled"));
}

TEST_CASE("a pod that should be in the mesh and is not is shown with the reason and the fix", "[status]") {
    Status status = healthy();
    PodStatus late = pod("late", Membership::member);
    late.step = Step::wait_for_namespace;
    late.reason = "no network namespace at /run/netns/shop.late";
    late.fix = "make the network namespace";
    status.pods.push_back(late);
    cli::Report report = shown(status);
    CHECK_FALSE(report.healthy);
    CHECK(says(report,
               "shop/late: should be in the mesh and is not: no network namespace at /run/netns/shop.late"));
    CHECK(says(report, "fix: make the network namespace"));
}

TEST_CASE("a problem of the node is shown with its fix", "[status]") {
    Status status = healthy();
    status.problems.push_back({"no ztunnel is connected", "start ztunnel"});
    cli::Report report = shown(status);
    CHECK_FALSE(report.healthy);
    CHECK(says(report, "agent: no ztunnel is connected\n      fix: start ztunnel"));
}

TEST_CASE("of the kernel's outcomes the refusals that happened are counted by reason", "[status]") {
    Status status = healthy();
    status.outcomes = {{"captured", false, 700}, {"no_record", true, 3}, {"no_memory", true, 0}};
    cli::Json json = *cli::Json::parse(agent::to_json(status));
    CHECK(json["refusals"].keys() == std::vector<std::string>{"no_record"});
    CHECK(json["refusals"]["no_record"].text() == "3");
    CHECK(json["outcomes"]["captured"].text() == "700");
    CHECK(json["outcomes"]["no_memory"].text() == "0");
    cli::Report report = shown(status);
    CHECK(report.healthy);  // a refusal is the mesh at work
    CHECK(says(report, "no_record"));
    CHECK_FALSE(says(report, "captured"));
}

TEST_CASE("names that are no UTF-8 do not take the status page away", "[status]") {
    Status status = healthy();
    status.pods[0].reason = "\xff\xfe";
    CHECK(cli::Json::parse(agent::to_json(status)));
}

TEST_CASE("precheck's JSON names what is missing with its fix, and is ok only when nothing is", "[status]") {
    agent::Feature there{"cgroup2", true, "mount it"}, missing{"io_uring", false, "allow it"};
    cli::Json whole = *cli::Json::parse(agent::to_json(std::vector{there}));
    CHECK(whole["ok"].is_true());
    CHECK(whole["features"].items()[0]["fix"].text().empty());
    cli::Json partial = *cli::Json::parse(agent::to_json(std::vector{there, missing}));
    CHECK_FALSE(partial["ok"].is_true());
    CHECK(partial["features"].items()[1]["name"].text() == "io_uring");
    CHECK(partial["features"].items()[1]["fix"].text() == "allow it");
}
