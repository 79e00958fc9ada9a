#include "agent/json.h"

#include "bpf/abi.h"

#include <nlohmann/json.hpp>

namespace culvert::agent {
namespace {

using nlohmann::json;

std::string_view word(Ack ack) {
    switch (ack) {
    case Ack::none: return "none";
    case Ack::pending: return "pending";
    case Ack::ok: return "ok";
    case Ack::failed: return "failed";
    }
    return "unknown";
}

std::string_view role_word(std::uint32_t role) {
    switch (role) {
    case CV_ROLE_OUTBOUND: return "outbound";
    case CV_ROLE_INBOUND: return "inbound";
    case CV_ROLE_HBONE: return "hbone";
    case CV_ROLE_DNS: return "dns";
    default: return "unknown";
    }
}

json of_pod(const PodStatus& pod) {
    json addresses = json::array(), listeners = json::array();
    for (const Ip& ip : pod.found) addresses.push_back(ip.to_string());
    for (std::uint32_t role : pod.kernel.announced) listeners.push_back(role_word(role));
    return {{"namespace", pod.spec.name_space},
            {"name", pod.spec.name},
            {"uid", pod.uid},
            {"service_account", pod.spec.service_account},
            {"wanted", pod.spec.membership == Membership::member},
            {"enrolled", pod.enrolled},
            {"state", agent::word(pod.step)},
            {"reason", pod.reason},
            {"fix", pod.fix},
            {"addresses", std::move(addresses)},
            {"network_namespace", pod.spec.netns_path},
            {"slot", pod.kernel.id},
            {"in_maps", pod.kernel.id != 0},
            {"captured", pod.kernel.captured},
            {"steered", pod.kernel.steered},
            {"listeners", std::move(listeners)},
            {"ztunnel", word(pod.ack)},
            {"dns", pod.spec.dns_capture},
            {"bypass_inbound", pod.spec.bypass_inbound},
            {"strict", pod.spec.strict},
            {"earlier_connections", {{"found", pod.swept.found}, {"destroyed", pod.swept.destroyed}}},
            {"probe_ports", pod.spec.probe_ports},
            {"refusals", pod.refusals}};
}

json of_ztunnels(const Status& status) {
    json all = json::array();
    for (const auto& one : status.ztunnels)
        all.push_back({{"pid", one.pid}, {"live", one.live}, {"newest", one.newest}});
    return all;
}

json of_recent(const Status& status) {
    json all = json::array();
    for (const RecentRefusal& one : status.recent)
        all.push_back({{"reason", one.reason},
                       {"pod", one.pod},
                       {"source", one.source.to_string()},
                       {"destination", one.destination.to_string()}});
    return all;
}

}  // namespace

std::string to_json(const Status& status) {
    json pods = json::array(), outcomes = json::object(), refusals = json::object(), problems = json::array();
    for (const PodStatus& pod : status.pods) pods.push_back(of_pod(pod));
    for (const OutcomeCount& one : status.outcomes) {
        outcomes[std::string(one.word)] = one.count;
        if (one.refusal && one.count) refusals[std::string(one.word)] = one.count;
    }
    for (const StatusProblem& one : status.problems)
        problems.push_back({{"message", one.message}, {"fix", one.fix}});
    json all = {{"node", status.node},
                {"ready", status.pending.empty()},
                {"pending", status.pending},
                {"capture",
                 {{"attached", status.capture_error.empty()},
                  {"error", status.capture_error},
                  {"root", status.capture_root},
                  {"ztunnel_cgroup", status.ztunnel_group},
                  {"layout", CV_ABI_VERSION}}},
                {"ztunnels", of_ztunnels(status)},
                {"refused_ztunnel", status.refused_ztunnel},
                {"problems", std::move(problems)},
                {"pods", std::move(pods)},
                {"abandoned", status.abandoned},
                {"outcomes", std::move(outcomes)},
                {"refusals", std::move(refusals)},
                {"recent_refusals", of_recent(status)},
                {"manifests", {{"path", status.manifests}}},
                {"controller", {{"address", status.controller}, {"in_sync", status.in_sync}}},
                {"outside_the_mesh", "UDP other than DNS"}};
    // Names come from manifests, whose text is UTF-8 or was refused; anything else is replaced rather than
    // thrown at.
    return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string to_json(const std::vector<Feature>& features) {
    bool ok = true;
    json all = json::array();
    for (const Feature& one : features) {
        ok = ok && one.present;
        all.push_back({{"name", one.name}, {"present", one.present}, {"fix", one.present ? "" : one.fix}});
    }
    return json{{"ok", ok}, {"features", std::move(all)}}.dump(2) + "\n";
}

}  // namespace culvert::agent
