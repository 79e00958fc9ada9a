// What the agent shows: the value behind /status, /healthz/ready and /metrics. Kernel state in it was read
// for this answer, never remembered. Plain values; json.cpp writes them.
//
// The JSON of /status (stable names; the command line reads it):
//   {"node", "ready", "pending": [..],
//    "capture": {"attached": bool, "error", "root", "ztunnel_cgroup", "layout"},
//    "ztunnels": [{"pid", "live", "newest"}], "refused_ztunnel",
//    "problems": [{"message", "fix"}],      of the node as a whole; each pod has its own
//    "pods": [{"namespace", "name", "uid", "service_account", "wanted": bool, "enrolled": bool, "state",
//    "reason", "fix",
//              "addresses": [..],
//              "network_namespace", "slot", "in_maps", "captured", "steered", "listeners": [..], "ztunnel":
//              "none|pending|ok|failed", "dns", "bypass_inbound", "strict", "earlier_connections": {"found",
//              "destroyed"}, "probe_ports": [..], "refusals": {word: count}}],
//    "abandoned": [name..],                 captured namespaces that no manifest leads to any more
//    "outcomes": {word: count},             of the kernel programs, since they were first loaded
//    "refusals": {word: count},             those of them that are refusals and happened
//    "recent_refusals": [{"reason", "pod", "source", "destination"}],   newest last
//    "manifests": {"path"}, "controller": {"address", "in_sync"},
//    "outside_the_mesh": "UDP other than DNS"}
#pragma once
#include "agent/capture.h"
#include "agent/pods.h"
#include "agent/zds_server.h"

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace culvert::agent {

struct PodStatus {
    PodSpec spec;
    std::string uid;
    Step step = Step::out;
    bool enrolled = false;
    std::string reason;
    std::string fix;
    std::vector<Ip> found;
    KernelFacts kernel;
    Ack ack = Ack::none;
    Sweep swept;
    std::map<std::string, std::uint64_t> refusals;
};

struct StatusProblem {
    std::string message;
    std::string fix;
};

struct RecentRefusal {
    std::string reason;
    std::string pod;
    Address source;
    Address destination;
};

struct Status {
    std::string node;
    std::vector<std::string> pending;  // what readiness waits for; empty: ready
    std::string capture_error;         // empty: every program is attached where it should be
    std::string capture_root;
    std::string ztunnel_group;
    std::vector<ZdsServer::Connected> ztunnels;
    std::string refused_ztunnel;
    std::vector<PodStatus> pods;
    std::vector<std::string> abandoned;
    std::vector<OutcomeCount> outcomes;
    std::deque<RecentRefusal> recent;
    std::string manifests;
    std::vector<StatusProblem> problems;
    std::string controller;
    bool in_sync = false;
};

}  // namespace culvert::agent
