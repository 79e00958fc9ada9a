// What the agent's control port shows: status, readiness, metrics; and what it makes of refusals.
#include "agent/agent.h"
#include "agent/json.h"
#include "lib/base/log.h"

#include <algorithm>

namespace culvert::agent {
namespace {

constexpr std::size_t recent_max = 64;  // docs/limits.md: agent.recent_refusals

std::string reason_of(const Pod& pod) {
    if (pod.spec.membership != Membership::member) return std::string(word(pod.spec.membership));
    if (!pod.error.empty()) return pod.error;
    return pod.step == Step::enrolled ? std::string() : std::string(word(pod.step));
}

std::string fix_of(const Pod& pod) {
    switch (pod.step) {
    case Step::wait_for_namespace:
        if (!pod.kept_out.empty())
            return "give each pod a network namespace of its own: annotation culvert.io/network-namespace";
        return "make the network namespace, or name it in the pod's annotation culvert.io/network-namespace";
    case Step::wait_for_address:
        return "give the namespace an address of status.podIPs, or correct the manifest";
    case Step::wait_for_ztunnel:
        return "start ztunnel with INPOD_UDS set to the agent's --zds-socket; its log says more";
    case Step::wait_for_listeners:
        return "let the agent start its groups afresh: stop ztunnel and start it again";
    case Step::enrolled: return pod.facts.announced ? "" : "start ztunnel";
    default: return {};
    }
}

// Captured and steered in the kernel: whether ztunnel serves it is another question, and shown beside.
bool is_enrolled(const Pod& pod) { return pod.wanted && pod.step == Step::enrolled; }

}  // namespace

void Agent::note(const Refusal& refusal) {
    std::string pod = census_.name_of(refusal.pod);
    log::info("kernel", "refused a connection",
              {log::text("reason", refusal.word), log::text("pod", pod),
               log::address("source", refusal.source), log::address("destination", refusal.destination)});
    if (!pod.empty()) ++refusals_[pod][std::string(refusal.word)];
    recent_.push_back({std::string(refusal.word), pod, refusal.source, refusal.destination});
    if (recent_.size() > recent_max) recent_.pop_front();
}

void Agent::report() {
    std::erase_if(refusals_, [&](const auto& one) { return !census_.pods().contains(one.first); });
    if (!reports_ || !census_.knows_manifests()) return;
    std::map<std::string, Enrolment> now;
    for (const auto& [key, pod] : census_.pods())
        now[key] = {pod->uid.empty() ? key : pod->uid, pod->spec.namespace_, pod->spec.name,
                    is_enrolled(*pod), is_enrolled(*pod) ? std::string() : reason_of(*pod)};
    reports_->say(std::move(now));
}

std::vector<std::string> Agent::pending() const {
    std::vector<std::string> waits;
    if (!census_.knows_manifests()) waits.push_back("manifests");
    if (!capture_->verify()) waits.push_back("capture");
    if (zds_.connected().empty()) waits.push_back("ztunnel");
    return waits;
}

std::vector<StatusProblem> Agent::problems() const {
    std::vector<StatusProblem> all;
    if (Result<Done> whole = capture_->verify(); !whole)
        all.push_back({whole.error().to_string(), "restart the agent: it attaches its programs again"});
    if (zds_.connected().empty())
        all.push_back(
            {"no ztunnel is connected: enrolled pods are refused, never in the clear", "start ztunnel"});
    if (!zds_.last_refusal().empty())
        all.push_back({"a process was not let in as ztunnel: " + zds_.last_refusal(),
                       "start the ztunnel that --ztunnel-program names"});
    for (const std::string& name : census_.abandoned())
        all.push_back({"a network namespace of " + name +
                           " stays captured: its name is gone, something still runs in it",
                       "end what runs in it"});
    for (const kube::Problem& problem : census_.problems()) all.push_back({problem.to_string(), problem.fix});
    return all;
}

Status Agent::status() {
    look();  // what is shown is what is now
    Status now;
    now.node = settings_.node_name;
    now.pending = pending();
    if (Result<Done> whole = capture_->verify(); !whole) now.capture_error = whole.error().to_string();
    now.capture_root = root_.path();
    now.ztunnel_group = ztunnel_.path();
    now.ztunnels = zds_.connected();
    now.refused_ztunnel = zds_.last_refusal();
    for (const auto& [key, pod] : census_.pods()) {
        // Read again for this answer: what is shown is what is.
        KernelFacts kernel =
            pod->netns.open() ? capture_->look(pod->place(), pod->admission()) : KernelFacts{};
        bool enrolled = is_enrolled(*pod) && kernel.captured && kernel.steered;
        std::string fix = pod->wanted ? fix_of(*pod) : std::string();
        now.pods.push_back({pod->spec, pod->uid, pod->step, enrolled, reason_of(*pod), fix, pod->found,
                            kernel, zds_.answer(pod->uid).ack, pod->swept, refusals_[key]});
    }
    now.abandoned = census_.abandoned();
    now.outcomes = capture_->outcomes();
    now.recent = recent_;
    now.manifests = settings_.manifests;
    now.problems = problems();
    now.controller = settings_.controller;
    now.in_sync = reports_ && reports_->in_sync();
    return now;
}

std::string Agent::metrics() {
    for (const OutcomeCount& one : capture_->outcomes()) {
        std::uint64_t& before = counted_[std::string(one.word)];
        registry_
            .counter("culvert_agent_outcomes", "Outcomes of the kernel programs, by reason.",
                     {{"reason", std::string(one.word)}, {"refusal", one.refusal ? "true" : "false"}})
            .add(one.count - std::min(before, one.count));
        before = one.count;
    }
    std::int64_t enrolled = 0;
    for (const auto& [key, pod] : census_.pods()) enrolled += is_enrolled(*pod);
    auto count = static_cast<std::int64_t>(census_.pods().size());
    registry_.gauge("culvert_agent_pods", "Pods of this node.", {{"enrolled", "true"}}).set(enrolled);
    registry_.gauge("culvert_agent_pods", "Pods of this node.", {{"enrolled", "false"}})
        .set(count - enrolled);
    registry_.gauge("culvert_agent_ztunnels", "ztunnels that are connected.")
        .set(static_cast<std::int64_t>(zds_.connected().size()));
    registry_
        .gauge("culvert_agent_capture_attached",
               "1 while every kernel program is attached where it should be.")
        .set(capture_->verify() ? 1 : 0);
    return registry_.render();
}

h1::Response Agent::answer(const h1::Request& request) {
    h1::Response response;
    if (request.path != "/status" && request.path != "/healthz/ready" && request.path != "/metrics" &&
        request.path != "/stats/prometheus" && request.path != "/debug/tasks")
        return control::not_found();
    if (request.method != "GET" && request.method != "HEAD") return control::method_not_allowed("GET, HEAD");
    if (request.path == "/status") {
        response.content_type = "application/json";
        response.body = to_json(status());
    } else if (request.path == "/healthz/ready") {
        std::vector<std::string> waits = pending();
        response.body = "ready\n";
        if (waits.empty()) return response;
        response.status = 500;  // as A-6 has it for ztunnel
        response.body = "not ready, pending: ";
        for (std::size_t i = 0; i < waits.size(); ++i) response.body += (i ? ", " : "") + waits[i];
        response.body += "\n";
    } else if (request.path == "/debug/tasks") {
        response.body = loop_.parked();
    } else {
        response.content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.body = metrics();
    }
    return response;
}

}  // namespace culvert::agent
