#include "ztunnel/admin.h"

#include "lib/base/log.h"

namespace culvert::ztunnel {
namespace {

constexpr std::string_view index_page = R"(<!DOCTYPE html><title>ztunnel</title><h1>Culvert ztunnel</h1><ul>
<li><a href="config_dump">config_dump</a>: workloads, services, policies, certificates, connections
<li><a href="debug/tasks">debug/tasks</a>: who waits where
<li>POST quitquitquit: drain and end
<li>POST logging?level=debug or ?level=access=debug,xds=trace; &amp;reset first returns to the default
</ul>
)";

constexpr std::string_view logging_help =
    "usage: POST /logging\n       POST /logging?level=LEVEL\n       POST "
    "/logging?level=TARGET=LEVEL,TARGET=LEVEL\n"
    "LEVEL is one of off, error, warn, info, debug, trace; add &reset to return to the default first\n";

control::Answer logging(const h1::Request& request) {
    std::string level;
    bool reset = false;
    for (const h1::Field& field : h1::parse_query(request.query)) {
        if (field.name == "level") level = field.value;
        if (field.name == "reset") reset = true;
    }
    auto changed = log::change_filter(level, reset);
    if (!changed)
        return control::at_once(
            {.status = 400, .body = changed.error().text + "\n" + std::string(logging_help)});
    return control::at_once({.body = "current log level is " + *changed + "\n"});
}

control::Answer index(const h1::Request&) {
    return control::at_once({.content_type = "text/html; charset=utf-8", .body = std::string(index_page)});
}

}  // namespace

Result<Done> Admin::listen(const Config& config) {
    const std::pair<Address, control::Routes> wanted[] = {
        {config.admin, admin()},
        {config.stats, control::metrics([this] { return sources_.metrics.render(); })},
        {config.readiness, {control::readiness(sources_.pending)}}};
    for (const auto& [at, routes] : wanted) {
        TRY(std::uint16_t port, server_.listen(at, routes));
        ports_.push_back(port);
    }
    return Done{};
}

control::Routes Admin::admin() const {
    auto dump = [this](const h1::Request&) { return control::body_of("application/json", sources_.dump()); };
    auto quit = [this](const h1::Request&) {
        sources_.quit();
        return control::at_once({.body = "shutdown now\n"});
    };
    return {{"/", "", index},
            {"/config_dump", "", dump},
            control::tasks(sources_.tasks),
            {"/logging", "POST", logging},
            {"/quitquitquit", "POST", quit}};
}

}  // namespace culvert::ztunnel
