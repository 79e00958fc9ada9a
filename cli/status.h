// `culvert status`: is the mesh well, seen from this node, and what to do about what is not. Pure: answers of
// the control ports in, report out. A part that does not answer is itself a finding.
#pragma once
#include "cli/json.h"

namespace culvert::cli {

struct Answers {
    Result<Json> controller;    // /status of the controller
    Result<Json> agent;         // /status of the agent
    Result<Json> ztunnel;       // /config_dump of ztunnel
    Result<std::string> ready;  // /healthz/ready of ztunnel
};

struct Report {
    std::string text;  // for people
    // For programs: {"healthy", "findings": [{"where", "what", "fix"}], "refusals": [{"where", "reason",
    // "times"}], "controller": its /status, "agent": its /status, "ztunnel": {"ready", "certificates":
    // [{"identity", "state"}]}}; null for a part that did not answer.
    std::string json;
    bool healthy = false;
};

Report report_status(const Answers& answers);

}  // namespace culvert::cli
