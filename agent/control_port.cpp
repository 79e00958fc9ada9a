#include "agent/control_port.h"

#include "agent/json.h"
#include "lib/base/log.h"

#include <algorithm>

namespace culvert::agent {
namespace {

io::Task<Result<std::string>> parked(const io::Loop& loop) { co_return loop.parked(); }

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

}  // namespace

void ControlPort::note(const Refusal& refusal) {
    std::string pod = parts_.census.name_of(refusal.pod);
    log::info("kernel", "refused a connection",
              {log::text("reason", refusal.word), log::text("pod", pod),
               log::address("source", refusal.source), log::address("destination", refusal.destination)});
    if (!pod.empty()) ++refusals_[pod][std::string(refusal.word)];
    recent_.push_back({std::string(refusal.word), pod, refusal.source, refusal.destination});
    if (recent_.size() > recent_max) recent_.pop_front();
}

void ControlPort::forget_the_gone() {
    std::erase_if(refusals_, [&](const auto& one) { return !parts_.census.pods().contains(one.first); });
}

std::vector<std::string> ControlPort::pending() const {
    std::vector<std::string> waits;
    if (!parts_.census.knows_manifests()) waits.push_back("manifests");
    if (!parts_.capture.verify()) waits.push_back("capture");
    if (parts_.zds.connected().empty()) waits.push_back("ztunnel");
    return waits;
}

std::vector<StatusProblem> ControlPort::problems() const {
    std::vector<StatusProblem> all;
    if (Result<Done> whole = parts_.capture.verify(); !whole)
        all.push_back({whole.error().to_string(), "restart the agent: it attaches its programs again"});
    if (parts_.zds.connected().empty())
        all.push_back(
            {"no ztunnel is connected: enrolled pods are refused, never in the clear", "start ztunnel"});
    if (!parts_.zds.last_refusal().empty())
        all.push_back({"a process was not let in as ztunnel: " + parts_.zds.last_refusal(),
                       "start the ztunnel that --ztunnel-program names"});
    for (const std::string& name : parts_.census.abandoned())
        all.push_back({"a network namespace of " + name +
                           " stays captured: its name is gone, something still runs in it",
                       "end what runs in it"});
    for (kube::Problem problem : parts_.census.problems()) {
        if (problem.severity != kube::Problem::Severity::error) continue;
        std::string fix = std::exchange(problem.fix, {});
        all.push_back({problem.to_string(), std::move(fix)});
    }
    return all;
}

PodStatus ControlPort::status_of(const std::string& key, const Pod& pod) const {
    PodStatus out{.spec = pod.spec,
                  .uid = pod.uid,
                  .step = pod.step,
                  .enrolled = pod.enrolled(),
                  .reason = pod.why_outside(),
                  .fix = pod.wanted ? fix_of(pod) : std::string(),
                  .found = pod.found,
                  .kernel = {},
                  .ack = parts_.zds.answer(pod.uid).ack,
                  .swept = pod.swept,
                  .refusals = {}};
    if (pod.netns.open()) out.kernel = parts_.capture.look(pod.place(), pod.admission());
    if (out.enrolled && !(out.kernel.captured && out.kernel.steered)) {
        out.enrolled = false;
        out.reason = "somebody changed its kernel state; it is being put right";
    }
    if (auto counts = refusals_.find(key); counts != refusals_.end()) out.refusals = counts->second;
    return out;
}

Status ControlPort::status() {
    parts_.look_again();
    Status now;
    now.node = parts_.settings.node_name;
    now.pending = pending();
    if (Result<Done> whole = parts_.capture.verify(); !whole) now.capture_error = whole.error().to_string();
    now.capture_root = parts_.root.path();
    now.ztunnel_group = parts_.ztunnel.path();
    now.ztunnels = parts_.zds.connected();
    now.refused_ztunnel = parts_.zds.last_refusal();
    for (const auto& [key, pod] : parts_.census.pods()) now.pods.push_back(status_of(key, *pod));
    now.abandoned = parts_.census.abandoned();
    now.outcomes = parts_.capture.outcomes();
    now.recent = recent_;
    now.manifests = parts_.settings.manifests;
    now.problems = problems();
    now.controller = parts_.settings.controller;
    now.in_sync = parts_.reports && parts_.reports->in_sync();
    return now;
}

std::string ControlPort::metrics() {
    for (const OutcomeCount& one : parts_.capture.outcomes()) {
        std::uint64_t& before = counted_[std::string(one.word)];
        registry_
            .counter("culvert_agent_outcomes", "Outcomes of the kernel programs, by reason.",
                     {{"reason", std::string(one.word)}, {"refusal", one.refusal ? "true" : "false"}})
            .add(one.count - std::min(before, one.count));
        before = one.count;
    }
    std::int64_t enrolled = 0;
    for (const auto& [key, pod] : parts_.census.pods()) enrolled += pod->enrolled();
    auto count = static_cast<std::int64_t>(parts_.census.pods().size());
    registry_.gauge("culvert_agent_pods", "Pods of this node.", {{"enrolled", "true"}}).set(enrolled);
    registry_.gauge("culvert_agent_pods", "Pods of this node.", {{"enrolled", "false"}})
        .set(count - enrolled);
    registry_.gauge("culvert_agent_ztunnels", "ztunnels that are connected.")
        .set(static_cast<std::int64_t>(parts_.zds.connected().size()));
    registry_
        .gauge("culvert_agent_capture_attached",
               "1 while every kernel program is attached where it should be.")
        .set(parts_.capture.verify() ? 1 : 0);
    return registry_.render();
}

control::Routes ControlPort::routes() {
    auto show = [this](const h1::Request&) {
        return control::at_once({.content_type = "application/json", .body = to_json(status())});
    };
    control::Routes all = control::metrics([this] { return metrics(); });
    all.push_back({"/status", control::reads, show});
    all.push_back(control::readiness([this] { return pending(); }));
    all.push_back(control::tasks([this] { return parked(parts_.loop); }));
    return all;
}

}  // namespace culvert::agent
