#include "ztunnel/admin.h"

#include "lib/base/log.h"

#include <algorithm>

namespace culvert::ztunnel {
namespace {

constexpr std::string_view index_page = R"(<!DOCTYPE html><title>ztunnel</title><h1>Culvert ztunnel</h1><ul>
<li><a href="config_dump">config_dump</a>: workloads, services, policies, certificates, connections
<li><a href="debug/tasks">debug/tasks</a>: who waits where
<li>POST quitquitquit: drain and end
<li>POST logging?level=debug or ?level=access=debug,xds=trace; &amp;reset first returns to the default
</ul>
)";

constexpr std::string_view open_metrics = "application/openmetrics-text";
constexpr std::string_view logging_help =
    "usage: POST /logging\n       POST /logging?level=LEVEL\n       POST "
    "/logging?level=TARGET=LEVEL,TARGET=LEVEL\n"
    "LEVEL is one of off, error, warn, info, debug, trace; add &reset to return to the default first\n";

}  // namespace

Result<Done> Admin::listen(const Config& config) {
    const std::pair<Address, h1::Response (Admin::*)(const h1::Request&)> wanted[] = {
        {config.admin, &Admin::admin},
        {config.stats, &Admin::metrics},
        {config.readiness, &Admin::readiness}};
    for (const auto& [at, answer] : wanted) {
        TRY(std::uint16_t port, server_.listen(at, [this, answer](const h1::Request& request) {
            return (this->*answer)(request);
        }));
        ports_.push_back(port);
    }
    return Done{};
}

h1::Response Admin::admin(const h1::Request& request) {
    if (request.path == "/")
        return {.content_type = "text/html; charset=utf-8", .body = std::string(index_page)};
    if (request.path == "/config_dump") return {.content_type = "application/json", .body = sources_.dump()};
    if (request.path == "/debug/tasks") return {.body = sources_.tasks()};
    if (request.path == "/logging") return logging(request);
    if (request.path != "/quitquitquit") return control::not_found();
    if (request.method != "POST") return control::method_not_allowed("POST");
    sources_.quit();
    return {.body = "shutdown now\n"};
}

h1::Response Admin::logging(const h1::Request& request) {
    if (request.method != "POST") return control::method_not_allowed("POST");
    std::string level;
    bool reset = false;
    for (const h1::Field& field : h1::parse_query(request.query)) {
        if (field.name == "level") level = field.value;
        if (field.name == "reset") reset = true;
    }
    auto changed = log::change_filter(level, reset);
    if (!changed) return {.status = 400, .body = changed.error().text + "\n" + std::string(logging_help)};
    return {.body = "current log level is " + *changed + "\n"};
}

h1::Response Admin::metrics(const h1::Request& request) {
    if (request.path != "/metrics" && request.path != "/stats/prometheus") return control::not_found();
    if (request.method != "GET" && request.method != "HEAD") return control::method_not_allowed("GET");
    bool open = request.accepts(open_metrics, false);
    return {.content_type = open ? "application/openmetrics-text;charset=utf-8;version=1.0.0"
                                 : "text/plain; charset=utf-8",
            .body = sources_.metrics.render()};
}

h1::Response Admin::readiness(const h1::Request& request) {
    if (request.path != "/healthz/ready") return control::not_found();
    if (request.method != "GET") return control::method_not_allowed("GET");
    std::vector<std::string> pending = sources_.pending();
    if (pending.empty()) return {.body = "ready\n"};
    std::ranges::sort(pending);
    std::string names;
    for (const std::string& name : pending) names += (names.empty() ? "" : ", ") + name;
    return {.status = 500, .body = "not ready, pending: " + names + "\n"};
}

}  // namespace culvert::ztunnel
