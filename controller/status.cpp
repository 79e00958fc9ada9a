#include "controller/status.h"

#include "controller/analysis.h"

#include "lib/io/loop.h"

namespace culvert::controller {
namespace {

std::vector<std::string> pending(const Board& board) {
    const PicturePtr picture = board.get();
    if (picture && picture->ready) return {};
    return {"manifests"};
}

std::string document(const StatusParts& parts) {
    const PicturePtr picture = parts.board.get();
    if (!picture) return "{\"ready\": false}\n";
    Picture shown = *picture;
    if (shown.manifests)
        for (kube::Problem& one : analyse(*shown.manifests, shown.mesh))
            (one.severity == kube::Problem::Severity::error ? shown.problems : shown.warnings)
                .push_back(std::move(one));
    return status_json(shown, parts.streams(), parts.refusals.list());
}

io::Task<Result<std::string>> parked(const io::Loop& loop) { co_return "control\n" + loop.parked(); }

}  // namespace

control::Routes routes(StatusParts parts) {
    auto show = [parts](const h1::Request&) {
        return control::at_once({.content_type = "application/json", .body = document(parts)});
    };
    control::Routes all = control::metrics([&metrics = parts.metrics] { return metrics.render(); });
    all.push_back({"/status", control::reads, show});
    all.push_back(control::readiness([&board = parts.board] { return pending(board); }));
    all.push_back(control::tasks([&loop = parts.loop] { return parked(loop); }));
    return all;
}

}  // namespace culvert::controller
