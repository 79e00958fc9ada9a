#include "lib/control/routes.h"

#include <algorithm>

namespace culvert::control {
namespace {

constexpr std::string_view open_metrics = "application/openmetrics-text";

h1::Response not_found() { return {.status = 404, .body = "Not Found\n"}; }

h1::Response method_not_allowed(const std::string& allowed) {
    return {.status = 405, .body = "Method Not Allowed\n", .fields = {{"allow", allowed}}};
}

bool allows(const Route& route, const h1::Request& request) {
    const std::vector<h1::Field> allow{{"allow", route.allowed}};
    return route.allowed.empty() || h1::list_has(allow, "allow", request.method);
}

h1::Response ready_or_not(std::vector<std::string> pending) {
    if (pending.empty()) return {.body = "ready\n"};
    std::ranges::sort(pending);
    std::string names;
    for (const std::string& name : pending) names += (names.empty() ? "" : ", ") + name;
    return {.status = 500, .body = "not ready, pending: " + names + "\n"};
}

h1::Response metrics_text(const h1::Request& request, std::string text) {
    const bool open = request.accepts(open_metrics, false);
    return {.content_type = open ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
                                 : "text/plain; charset=utf-8",
            .body = std::move(text)};
}

}  // namespace

Answer answer(const Routes& routes, const h1::Request& request) {
    auto route = std::ranges::find(routes, request.path, &Route::path);
    if (route == routes.end()) co_return not_found();
    if (!allows(*route, request)) co_return method_not_allowed(route->allowed);
    co_return co_await route->handler(request);
}

Answer at_once(h1::Response response) { co_return response; }

Answer body_of(std::string content_type, io::Task<Result<std::string>> body) {
    CO_TRY(std::string text, co_await body);
    co_return h1::Response{.content_type = std::move(content_type), .body = std::move(text)};
}

Route readiness(std::function<std::vector<std::string>()> pending) {
    return {"/healthz/ready", "GET",
            [pending = std::move(pending)](const h1::Request&) { return at_once(ready_or_not(pending())); }};
}

Routes metrics(std::function<std::string()> render) {
    auto handler = [render = std::move(render)](const h1::Request& request) {
        return at_once(metrics_text(request, render()));
    };
    return {{"/metrics", reads, handler}, {"/stats/prometheus", reads, handler}};
}

Route tasks(std::function<io::Task<Result<std::string>>()> parked) {
    return {"/debug/tasks", reads, [parked = std::move(parked)](const h1::Request&) {
                return body_of("text/plain; charset=utf-8", parked());
            }};
}

}  // namespace culvert::control
