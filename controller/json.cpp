// The controller's one adapter of nlohmann-json: the document of /status.
#include "controller/status.h"
#include "controller/validate.h"

#include <nlohmann/json.hpp>

namespace culvert::controller {
namespace {

using Json = nlohmann::ordered_json;

Json problems_json(const std::vector<kube::Problem>& problems) {
    Json out = Json::array();
    for (const kube::Problem& one : problems)
        out.push_back({{"severity", one.severity == kube::Problem::Severity::error ? "error" : "warning"},
                       {"file", one.file},
                       {"line", one.line},
                       {"object", one.object},
                       {"field", one.field},
                       {"message", one.message},
                       {"effect", one.effect},
                       {"fix", one.fix}});
    return out;
}

Json node_json(const Picture::Node& node, const std::vector<xds::StreamStatus>& streams) {
    Json pods = Json::array(), open = Json::array();
    std::size_t enrolled = 0;
    for (const Picture::Pod& pod : node.pods) {
        pods.push_back({{"name", pod.name}, {"enrolled", pod.enrolled}, {"reason", pod.reason}});
        enrolled += pod.enrolled ? 1 : 0;
    }
    for (const xds::StreamStatus& stream : streams) {
        if (stream.node != node.name) continue;
        open.push_back({{"id", stream.id},
                        {"peer", stream.peer},
                        {"synced", stream.synced},
                        {"rejected", stream.rejected},
                        {"error", stream.last_error}});
    }
    const bool connected = !open.empty();
    return {{"name", node.name},
            {"connected", connected},
            {"enrolled", enrolled},
            {"pods", std::move(pods)},
            {"streams", std::move(open)}};
}

}  // namespace

std::string to_json(const Verdict& verdict) {
    const Json out = {
        {"ok", verdict.ok()}, {"objects", verdict.objects}, {"problems", problems_json(verdict.problems)}};
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string status_json(const Picture& picture, const std::vector<xds::StreamStatus>& streams,
                        const std::vector<std::pair<std::string, std::uint64_t>>& refused) {
    Json out;
    out["ready"] = picture.ready;
    out["problems"] = problems_json(picture.problems);
    out["warnings"] = problems_json(picture.warnings);
    out["objects"] = Json::object();
    for (const auto& [kind, count] : picture.objects) out["objects"][kind] = count;
    out["published"] = {
        {"addresses", picture.addresses}, {"policies", picture.policies}, {"sequence", picture.sequence}};
    out["nodes"] = Json::array();
    for (const Picture::Node& node : picture.nodes) out["nodes"].push_back(node_json(node, streams));
    out["refused"] = Json::object();
    for (const auto& [reason, count] : refused) out["refused"][reason] = count;
    // Texts come from files and callers: what is not UTF-8 is replaced, nothing is thrown.
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace culvert::controller
