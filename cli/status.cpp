#include "cli/status.h"

#include "cli/table.h"

namespace culvert::cli {
namespace {

struct Finding {
    std::string where, what, fix;
};
struct Findings {
    std::vector<Finding> problems;  // any of them: not well
    std::vector<Finding> warnings;
};

// By the kernel's programs on this node, its ztunnel, or the controller.
struct Refused {
    std::string where, reason;
    std::int64_t times = 0;
};

std::string place_of(const Json& problem) {
    std::string place = problem["file"].text();
    if (place.empty()) return "manifests";
    return problem["line"].number() == 0 ? place : place + ":" + problem["line"].text();
}

// "m/db.yaml:7: Pod shop/db: spec.nodename: unknown field (the version before stays in force)"
Finding manifest_finding(const Json& problem) {
    std::string what;
    for (const char* part : {"object", "field"})
        if (!problem[part].empty()) what += problem[part].text() + ": ";
    what += problem["message"].text();
    if (!problem["effect"].empty()) what += " (" + problem["effect"].text() + ")";
    return {place_of(problem), what, problem["fix"].text()};
}

// The agent reports to it, so it lives; only its status port does not answer from here.
bool agent_hears_controller(const Answers& answers) {
    return answers.agent && (*answers.agent)["controller"]["in_sync"].is_true();
}

void find_in_controller(const Answers& answers, Findings& findings) {
    if (!answers.controller) {
        if (agent_hears_controller(answers))
            findings.warnings.push_back(
                {"controller", "the agent is in sync with it, but " + answers.controller.error().to_string(),
                 "start it with --status [::]:15014 if nodes may read its status; else ask on its host"});
        else
            findings.problems.push_back({"controller", answers.controller.error().to_string(),
                                         "start it, or say where it is: --controller ADDRESS:15014; traffic "
                                         "goes on with what is known"});
        return;
    }
    for (const Json& problem : (*answers.controller)["problems"].items())
        findings.problems.push_back(manifest_finding(problem));
    for (const Json& warning : (*answers.controller)["warnings"].items())
        findings.warnings.push_back(manifest_finding(warning));
}

// The agent reads the same files: what the controller said already needs no second row.
bool controller_said(const Answers& answers, const std::string& message) {
    if (!answers.controller) return false;
    for (const Json& problem : (*answers.controller)["problems"].items())
        if (message.starts_with(place_of(problem) + ":") &&
            message.find(problem["message"].text()) != message.npos)
            return true;
    return false;
}

void find_in_agent(const Answers& answers, Findings& all) {
    std::vector<Finding>& findings = all.problems;
    if (!answers.agent) {
        findings.push_back({"agent", answers.agent.error().to_string(),
                            "start it on this node; pods that are enrolled stay captured meanwhile"});
        return;
    }
    const Json& status = *answers.agent;
    for (const Json& problem : status["problems"].items()) {
        std::string message = problem["message"].text();
        if (controller_said(answers, message)) continue;
        findings.push_back({"agent", std::move(message), problem["fix"].text()});
    }
    const std::string controller = status["controller"]["address"].text();
    if (answers.controller && !controller.empty() && !agent_hears_controller(answers))
        findings.push_back(
            {"agent",
             "is not in sync with the controller " + controller +
                 ": other nodes may not know which pods here are in the mesh",
             "its log says why: a token that ended, a root certificate of another controller, an "
             "address that does not answer"});
    for (const Json& pod : status["pods"].items())
        if (pod["wanted"].is_true() && !pod["enrolled"].is_true())
            findings.push_back({pod["namespace"].text() + "/" + pod["name"].text(),
                                "should be in the mesh and is not: " + pod["reason"].text(),
                                pod["fix"].text()});
}

void find_in_ztunnel(const Answers& answers, Findings& all) {
    std::vector<Finding>& findings = all.problems;
    // It has its configuration and answers; the agent is what it waits for.
    const bool only_lost_the_agent = !answers.ready && !answers.agent && answers.ztunnel;
    if (only_lost_the_agent)
        findings.push_back({"ztunnel", "lost the agent; pods that it serves are served on",
                            "start the agent: nothing new is enrolled or taken out meanwhile"});
    else if (!answers.ready)
        findings.push_back(
            {"ztunnel", answers.ready.error().to_string(),
             "look at its log; enrolled pods are refused, never in the clear, until it is ready"});
    if (!answers.ztunnel) {
        // One that is not there has been said already.
        if (answers.ready || answers.ready.error().reason != answers.ztunnel.error().reason)
            findings.push_back({"ztunnel", "no configuration dump: " + answers.ztunnel.error().to_string(),
                                "look at its log, or say where it is: --ztunnel ADDRESS:15000"});
        return;
    }
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

void add_refusals(std::vector<Refused>& all, std::string_view where, const Json& counts) {
    for (const std::string& reason : counts.keys())
        all.push_back({std::string(where), reason, counts[reason].number()});
}

std::vector<Refused> refusals_in(const Answers& answers) {
    std::vector<Refused> all;
    if (answers.agent) add_refusals(all, "kernel", (*answers.agent)["refusals"]);
    if (answers.ztunnel) add_refusals(all, "ztunnel", (*answers.ztunnel)["refusals"]);
    if (answers.controller) add_refusals(all, "controller", (*answers.controller)["refused"]);
    return all;
}

std::string refusal_table(const std::vector<Refused>& refusals) {
    Table table({"WHERE", "REFUSED BECAUSE", "TIMES"});
    for (const Refused& one : refusals) table.add({one.where, one.reason, std::to_string(one.times)});
    return table.empty() ? "" : "\n" + table.to_string();
}

std::string list_text(const char* title, const std::vector<Finding>& list) {
    std::string out = list.empty() ? "" : title;
    for (const Finding& finding : list) {
        out += "  " + escaped(finding.where + ": " + finding.what) + "\n";
        if (!finding.fix.empty()) out += "      fix: " + escaped(finding.fix) + "\n";
    }
    return out;
}

std::string findings_text(const Findings& findings) {
    std::string problems =
        findings.problems.empty() ? "\nAll is well.\n" : list_text("\nTo look at:\n", findings.problems);
    return problems + list_text("\nPerhaps not meant:\n", findings.warnings);
}

Json findings_json(const std::vector<Finding>& findings) {
    std::vector<Json> all;
    for (const Finding& one : findings)
        all.push_back(Json::object(
            {{"where", Json::of(one.where)}, {"what", Json::of(one.what)}, {"fix", Json::of(one.fix)}}));
    return Json::array(all);
}

Json refusals_json(const std::vector<Refused>& refusals) {
    std::vector<Json> all;
    for (const Refused& one : refusals)
        all.push_back(Json::object({{"where", Json::of(one.where)},
                                    {"reason", Json::of(one.reason)},
                                    {"times", Json::of(one.times)}}));
    return Json::array(all);
}

Json ztunnel_json(const Answers& answers) {
    if (!answers.ztunnel) return {};
    std::vector<Json> certificates;
    for (const Json& one : (*answers.ztunnel)["certificates"].items())
        certificates.push_back(Json::object({{"identity", one["identity"]}, {"state", one["state"]}}));
    return Json::object(
        {{"ready", Json::of(answers.ready.has_value())}, {"certificates", Json::array(certificates)}});
}

}  // namespace

Report report_status(const Answers& answers) {
    Findings findings;
    find_in_controller(answers, findings);
    find_in_agent(answers, findings);
    find_in_ztunnel(answers, findings);

    const std::vector<Refused> refusals = refusals_in(answers);

    Report report;
    report.healthy = findings.problems.empty();
    if (answers.controller) report.text += node_table(*answers.controller) + "\n";
    if (answers.agent) report.text += pod_table(*answers.agent);
    report.text += refusal_table(refusals) + findings_text(findings);
    report.json = Json::object({{"healthy", Json::of(report.healthy)},
                                {"findings", findings_json(findings.problems)},
                                {"warnings", findings_json(findings.warnings)},
                                {"refusals", refusals_json(refusals)},
                                {"controller", answers.controller.value_or(Json())},
                                {"agent", answers.agent.value_or(Json())},
                                {"ztunnel", ztunnel_json(answers)}})
                      .dump() +
                  "\n";
    return report;
}

}  // namespace culvert::cli
