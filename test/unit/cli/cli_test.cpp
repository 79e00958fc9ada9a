#include "cli/flags.h"
#include "cli/status.h"
#include "cli/table.h"
#include "cli/ztunnel_config.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::cli;

namespace {

std::expected<Command, Exit> parse(std::vector<const char*> words) {
    words.insert(words.begin(), "culvert");
    return parse_command(static_cast<int>(words.size()), words.data());
}

Json json(std::string_view text) {
    auto parsed = Json::parse(text);
    REQUIRE(parsed);
    return *parsed;
}

}  // namespace

TEST_CASE("columns are as wide as their widest cell and empty cells are shown", "[cli]") {
    Table table({"A", "LONG"});
    table.add({"ä", ""});
    table.add({"xyz", "1"});
    CHECK(table.to_string() == "A     LONG\nä     -\nxyz   1\n");
}

TEST_CASE("words become a command, options may stand anywhere", "[cli]") {
    auto command = parse({"ztunnel-config", "workload", "-o", "json", "--ztunnel", "localhost:1"});
    REQUIRE(command);
    CHECK(command->verb == Verb::workload);
    CHECK(command->json);
    CHECK(command->ports.ztunnel == *Address::parse("127.0.0.1:1"));
}

TEST_CASE("help explains with examples, and a wrong word or address names itself and exits with 2", "[cli]") {
    CHECK(parse({"--help"}).error().code == 0);
    CHECK(parse({"--help"}).error().text.find("culvert status --controller") != std::string::npos);
    CHECK(parse({}).error().code == 2);
    auto wrong = parse({"status", "--agent", "nowhere"});
    CHECK(wrong.error().code == 2);
    CHECK(wrong.error().text.find("nowhere") != std::string::npos);
    for (auto words : {std::vector<const char*>{"status", "--help"}, {"help", "status"}, {"status", "-h"}}) {
        auto help = parse(std::move(words));
        CHECK(help.error().code == 0);
        for (const char* part : {"Usage: culvert status", "--output", "--agent", "127.0.0.1:15019"})
            CHECK(help.error().text.find(part) != std::string::npos);
    }
    CHECK(parse({"--version"}).error().text.starts_with("culvert "));
    CHECK(parse({"stauts"}).error().text.find("stauts") != std::string::npos);
}

TEST_CASE("tables show what a configuration dump says [A-5]", "[cli]") {
    auto dump = json(
        R"({"workloads":[{"namespace":"a","name":"p","workloadIps":["10.0.0.1","fd00::1"],"node":"n1","protocol":"HBONE",
        "serviceAccount":"s","status":"Healthy"}],"certificates":[{"identity":"spiffe://x/ns/a/sa/s","state":"Available",
        "certChain":[{"serialNumber":"7","validFrom":"f","expirationTime":"e"}]}],
        "workloadState":{"u":{"info":{"namespace":"a","name":"p"},"connections":{"outbound":[{"src":"1","originalDst":"2","actualDst":"3","protocol":"HBONE"}]}}}})");
    CHECK(workload_table(dump).find(
              "a           p     10.0.0.1,fd00::1   n1     cluster.local/ns/a/sa/s   HBONE      Healthy") !=
          std::string::npos);
    CHECK(certificate_table(dump).find("spiffe://x/ns/a/sa/s   Available   7") != std::string::npos);
    CHECK(connection_table(dump).find("a/p   outbound    1      2           3         HBONE") !=
          std::string::npos);
    CHECK(
        service_table(
            json(
                R"({"services":[{"namespace":"a","name":"s","hostname":"h","vips":["/10.96.0.1","n/10.96.0.2"]}]})"))
            .find("   10.96.0.1,n/10.96.0.2   ") != std::string::npos);
    CHECK(policy_table(json("[]")) == "NAMESPACE   POLICY   ACTION   SCOPE   RULES\n");
}

TEST_CASE("warnings are shown and do not make a mesh unwell; a manifest's error is one row", "[cli]") {
    Answers answers{
        json(
            R"({"nodes":[],"warnings":[{"file":"m/s.yaml","line":3,"object":"Service a/s","field":"spec.selector",
        "message":"selects no pod","fix":"compare"}],"problems":[]})"),
        json(R"({"pods":[],"problems":[]})"), json("{}"), std::string("ready\n")};
    CHECK(report_status(answers).healthy);
    CHECK(report_status(answers).text.find(
              "Perhaps not meant:\n  m/s.yaml:3: Service a/s: spec.selector: selects no "
              "pod\n      fix: compare") != std::string::npos);
    answers.controller =
        json(R"({"nodes":[],"problems":[{"file":"m/p.yaml","line":7,"object":"Pod a/p","field":"spec.x",
        "message":"unknown field","effect":"the version before stays in force","fix":""}]})");
    answers.agent =
        json(R"({"pods":[],"problems":[{"message":"m/p.yaml:7: error: Pod a/p: spec.x: unknown field"}]})");
    const Report report = report_status(answers);
    CHECK_FALSE(report.healthy);
    CHECK(
        report.text.find("m/p.yaml:7: Pod a/p: spec.x: unknown field (the version before stays in force)") !=
        std::string::npos);
    CHECK(report.text.find("  agent: ") == std::string::npos);
}

TEST_CASE("a controller whose status is elsewhere is no alarm while the agent hears it", "[cli]") {
    Answers answers{refuse(Reason::connect_refused), json(R"({"pods":[],"controller":{"in_sync":true}})"),
                    json("{}"), std::string("ready\n")};
    CHECK(report_status(answers).healthy);
    answers.agent = json(R"({"pods":[],"controller":{"in_sync":false}})");
    CHECK_FALSE(report_status(answers).healthy);
    answers.controller = json(R"({"nodes":[],"problems":[]})");
    CHECK(report_status(answers).healthy);  // an agent that tells nobody
    answers.agent = json(R"({"pods":[],"controller":{"address":"10.0.0.1:15012","in_sync":false}})");
    CHECK(report_status(answers).text.find("is not in sync with the controller 10.0.0.1:15012") !=
          std::string::npos);
}

TEST_CASE("a ztunnel that lost its agent is not called one that refuses", "[cli]") {
    Answers answers{json(R"({"nodes":[]})"), refuse(Reason::connect_refused), json("{}"),
                    refuse(Reason::bad_input, "not ready, pending: agent")};
    CHECK(report_status(answers).text.find("lost the agent; pods that it serves are served on") !=
          std::string::npos);
    CHECK(report_status(answers).text.find("enrolled pods are refused") == std::string::npos);
}

TEST_CASE("the port of gRPC is named as such", "[cli]") {
    CHECK(parse({"status", "--controller", "10.0.0.5:15012"}).error().text.find("15014") !=
          std::string::npos);
    CHECK_FALSE(parse({"status"})->controller_given);
    CHECK(parse({"status", "--controller", "10.0.0.5:15014"})->controller_given);
    CHECK(controller_beside(json(R"({"controller":{"address":"192.0.2.1:15012"}})"),
                            *Address::parse("127.0.0.1:15014"))
              .to_string() == "192.0.2.1:15014");
}

TEST_CASE("status is well only when every part answers and nothing is wrong", "[cli]") {
    Answers answers{json(R"({"nodes":[{"name":"n1","connected":true,"enrolled":1}],"problems":[]})"),
                    json(R"({"pods":[{"namespace":"a","name":"p","wanted":true,"enrolled":true}]})"),
                    json("{}"), std::string("ready\n")};
    CHECK(report_status(answers).healthy);
    CHECK(report_status(answers).text.find("All is well") != std::string::npos);
    CHECK(Json::parse(report_status(answers).json));

    auto pod_outside = answers;
    pod_outside.agent = json(
        R"({"pods":[{"namespace":"a","name":"p","wanted":true,"enrolled":false,"reason":"no network namespace"}]})");
    CHECK_FALSE(report_status(pod_outside).healthy);
    CHECK(
        report_status(pod_outside).text.find("a/p: should be in the mesh and is not: no network namespace") !=
        std::string::npos);

    auto bad_file = answers;
    bad_file.controller = json(
        R"({"problems":[{"file":"x.yaml","line":3,"field":"spec.rules","message":"unknown \"field\"","fix":"write rule"}]})");
    CHECK(report_status(bad_file).text.find(
              "x.yaml:3: spec.rules: unknown \"field\"\n      fix: write rule") != std::string::npos);
    CHECK(Json::parse(report_status(bad_file).json));

    auto silent = answers;
    silent.agent = refuse(Reason::connect_refused, 111);
    silent.ready = refuse(Reason::bad_input, 500);
    CHECK_FALSE(report_status(silent).healthy);
    CHECK(report_status(silent).text.find("agent: connect_refused") != std::string::npos);
}

TEST_CASE("refusals of the kernel, of ztunnel and of the controller stand in one table and in the JSON",
          "[cli]") {
    Answers answers{json(R"({"refused":{"token_rejected":4}})"), json(R"({"refusals":{"no_record":3}})"),
                    json(R"({"refusals":{"policy_denied":2}})"), std::string("ready\n")};
    Report report = report_status(answers);
    CHECK(report.healthy);  // a refusal is the mesh at work
    CHECK(report.text.find("WHERE        REFUSED BECAUSE   TIMES\n"
                           "kernel       no_record         3\n"
                           "ztunnel      policy_denied     2\n"
                           "controller   token_rejected    4\n") != std::string::npos);
    auto refusals = json(report.json)["refusals"].items();
    REQUIRE(refusals.size() == 3);
    CHECK(refusals[1]["where"].text() == "ztunnel");
    CHECK(refusals[1]["reason"].text() == "policy_denied");
    CHECK(refusals[1]["times"].number() == 2);
}

TEST_CASE("a ztunnel without a configuration dump is a finding, one that is not there is one", "[cli]") {
    Answers answers{json("{}"), json("{}"), refuse(Reason::timed_out), std::string("ready\n")};
    CHECK_FALSE(report_status(answers).healthy);
    CHECK(report_status(answers).text.find("ztunnel: no configuration dump: timed_out") != std::string::npos);
    CHECK(json(report_status(answers).json)["ztunnel"].empty());
    answers.ready = refuse(Reason::timed_out);
    CHECK(json(report_status(answers).json)["findings"].items().size() == 1);
}

TEST_CASE("the JSON of status has every part that answered, whatever bytes its texts are made of", "[cli]") {
    Answers answers{
        json("{}"), json(R"({"node":"n1"})"),
        json(R"({"certificates":[{"identity":"spiffe://x","state":"Available","certChain":[]}]})"),
        refuse(Reason::bad_input, "\xff\xfe \"quoted\"\n")};
    Json report = json(report_status(answers).json);
    CHECK(report["agent"]["node"].text() == "n1");
    CHECK(report["ztunnel"]["certificates"].items().at(0)["state"].text() == "Available");
    CHECK_FALSE(report["ztunnel"]["ready"].is_true());
    CHECK(report["findings"].items().at(0)["what"].text().find("\"quoted\"\n") != std::string::npos);
}

TEST_CASE("what manifests and pods say commands no terminal", "[cli]") {
    Table table({"A"});
    table.add({"x\x1b[2J\n"});
    CHECK(table.to_string() == "A\nx\\u001b[2J\\n\n");
    Answers answers{
        json(
            R"({"ready":true,"problems":[{"file":"a\u001b[2J","line":1,"message":"m\nforged","fix":"f\u0007"}]})"),
        json("{}"), json("{}"), std::string("ready\n")};
    const std::string text = report_status(answers).text;
    CHECK(text.find("a\\u001b[2J:1: m\\nforged") != std::string::npos);
    CHECK(text.find("fix: f\\u0007") != std::string::npos);
    CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("JSON that is none, or of another shape, yields an error or empty values, never an exception",
          "[cli]") {
    CHECK_FALSE(Json::parse("{"));
    CHECK_FALSE(Json::parse(""));
    for (auto text : {"null", "[]", "3", "\"x\"", R"({"pods":3,"problems":{"a":[]},"refusals":[1]})"}) {
        Answers answers{json(text), json(text), json(text), std::string()};
        CHECK_FALSE(report_status(answers).text.empty());
        for (auto table : {workload_table, service_table, policy_table, certificate_table, connection_table})
            CHECK_FALSE(table(json(text)).empty());
    }
}
