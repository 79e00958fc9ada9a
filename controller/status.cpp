#include "controller/status.h"

#include "lib/control/server.h"

namespace culvert::controller {

h1::Response answer(const StatusParts& parts, const h1::Request& request) {
    if (request.method != "GET" && request.method != "HEAD") return control::method_not_allowed("GET, HEAD");
    const PicturePtr picture = parts.board.get();
    if (request.path == "/healthz/ready") {
        if (picture && picture->ready) return {.status = 200, .body = "ready\n"};
        return {.status = 503, .body = "not ready: the manifests could not be read yet\n"};
    }
    if (request.path == "/metrics") {
        return {.status = 200,
                .content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8",
                .body = parts.metrics.render()};
    }
    if (request.path == "/status") {
        if (!picture)
            return {.status = 200, .content_type = "application/json", .body = "{\"ready\": false}\n"};
        return {.status = 200,
                .content_type = "application/json",
                .body = status_json(*picture, parts.streams(), parts.refusals.list())};
    }
    return control::not_found();
}

}  // namespace culvert::controller
