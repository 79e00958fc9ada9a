#include "cli/status.h"

#include "cli/table.h"

#include <fmt/format.h>

namespace culvert::cli {
namespace {

struct Finding {
    std::string where, what, fix;
};

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\')
            out += '\\', out += c;
        else if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        else
            out += c;
    }
    return out + '"';
}

void find_in_controller(const Answers& answers, std::vector<Finding>& findings) {
    if (!answers.controller) {
        findings.push_back(
            {"controller", answers.controller.error().to_string(),
             "start it, or say where it is: --controller ADDRESS:15014; traffic goes on with what is known"});
        return;
    }
    for (const Json& problem : (*answers.controller)["problems"].items()) {
        std::string place = problem["file"].text();
        if (!problem["line"].empty()) place += ":" + problem["line"].text();
        std::string what = problem["field"].empty()
                               ? problem["message"].text()
                               : problem["field"].text() + ": " + problem["message"].text();
        findings.push_back({place.empty() ? "manifests" : place, what, problem["fix"].text()});
    }
}

void find_in_agent(const Answers& answers, std::vector<Finding>& findings) {
    if (!answers.agent) {
        findings.push_back({"agent", answers.agent.error().to_string(),
                            "start it on this node; pods that are enrolled stay captured meanwhile"});
        return;
    }
    const Json& status = *answers.agent;
    for (const Json& problem : status["problems"].items())
        findings.push_back({"agent", problem["message"].empty() ? problem.text() : problem["message"].text(),
                            problem["fix"].text()});
    for (const Json& pod : status["pods"].items())
        if (pod["wanted"].is_true() && !pod["enrolled"].is_true())
            findings.push_back({pod["namespace"].text() + "/" + pod["name"].text(),
                                "should be in the mesh and is not: " + pod["reason"].text(),
                                pod["fix"].text()});
}

void find_in_ztunnel(const Answers& answers, std::vector<Finding>& findings) {
    if (!answers.ready)
        findings.push_back(
            {"ztunnel", answers.ready.error().to_string(),
             "look at its log; enrolled pods are refused, never in the clear, until it is ready"});
    if (!answers.ztunnel) return;
    for (const Json& certificate : (*answers.ztunnel)["certificates"].items())
        if (certificate["state"].text() != "Available")
            findings.push_back({certificate["identity"].text(), "certificate: " + certificate["state"].text(),
                                "the controller's log says why it was not signed"});
}

std::string pod_table(const Json& agent) {
    Table table({"NAMESPACE", "POD", "IN THE MESH", "REASON"});
    for (const Json& pod : agent["pods"].items())
        table.add({pod["namespace"].text(), pod["name"].text(), pod["enrolled"].is_true() ? "yes" : "no",
                   pod["reason"].text()});
    return table.empty() ? "no pods on this node\n" : table.to_string();
}

std::string node_table(const Json& controller) {
    Table table({"NODE", "CONNECTED", "PODS IN THE MESH"});
    for (const Json& node : controller["nodes"].items())
        table.add({node["name"].text(), node["connected"].is_true() ? "yes" : "no", node["enrolled"].text()});
    return table.to_string();
}

std::string refusal_table(const Json& agent) {
    Table table({"REFUSED BECAUSE", "TIMES"});
    Json refusals = agent["refusals"];
    for (const std::string& reason : refusals.keys()) table.add({reason, refusals[reason].text()});
    return table.empty() ? "" : "\n" + table.to_string();
}

std::string findings_text(const std::vector<Finding>& findings) {
    if (findings.empty()) return "\nAll is well.\n";
    std::string out = "\nTo look at:\n";
    for (const Finding& finding : findings) {
        out += "  " + finding.where + ": " + finding.what + "\n";
        if (!finding.fix.empty()) out += "      fix: " + finding.fix + "\n";
    }
    return out;
}

std::string findings_json(const std::vector<Finding>& findings) {
    std::string out;
    for (const Finding& finding : findings)
        out += fmt::format("{}{{\"where\":{},\"what\":{},\"fix\":{}}}", out.empty() ? "" : ",",
                           quoted(finding.where), quoted(finding.what), quoted(finding.fix));
    return "[" + out + "]";
}

}  // namespace

Report report_status(const Answers& answers) {
    std::vector<Finding> findings;
    find_in_controller(answers, findings);
    find_in_agent(answers, findings);
    find_in_ztunnel(answers, findings);

    Report report;
    report.healthy = findings.empty();
    if (answers.controller) report.text += node_table(*answers.controller) + "\n";
    if (answers.agent) report.text += pod_table(*answers.agent) + refusal_table(*answers.agent);
    report.text += findings_text(findings);
    report.json =
        fmt::format("{{\"healthy\":{},\"findings\":{},\"controller\":{},\"agent\":{}}}\n", report.healthy,
                    findings_json(findings), answers.controller ? answers.controller->dump() : "null",
                    answers.agent ? answers.agent->dump() : "null");
    return report;
}

}  // namespace culvert::cli
