#include "agent/reports.h"

#include "lib/base/clock.h"
#include "lib/xds/executor.h"
#include "lib/xds/grpc_client.h"
#include "lib/xds/report_session.h"

#include <atomic>
#include <utility>

namespace culvert::agent {

struct Reports::Inside {
    Inside(const Settings& settings, xds::Endpoint endpoint)
        : transport(xds::grpc_report_transport(executor, std::move(endpoint))),
          session(executor, *transport, settings.node_name) {
        session.on_sync([this](bool now) { in_sync = now; });
    }

    xds::ThreadExecutor executor{"reports", system_clock()};
    std::unique_ptr<xds::ReportTransport> transport;
    std::atomic<bool> in_sync = false;  // before the session, which writes it
    xds::ReportSession session;
};

Reports::Reports(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

Reports::~Reports() {
    // The session's calls belong to its thread; once that has stopped nobody else calls it.
    inside_->executor.post([inside = inside_.get()] { inside->session.stop(); });
    inside_->executor.stop();
}

Result<std::unique_ptr<Reports>> Reports::start(const Settings& settings) {
    xds::Endpoint endpoint;
    endpoint.address = "https://" + settings.controller;
    endpoint.root_ca = settings.root_certificate;
    endpoint.alternative_name = settings.controller_name;
    endpoint.token = settings.token;
    if (Result<Done> valid = xds::validate(endpoint); !valid) return refuse(std::move(valid));
    return std::unique_ptr<Reports>(new Reports(std::make_unique<Inside>(settings, std::move(endpoint))));
}

void Reports::say(std::map<std::string, Enrolment> now) {
    for (const auto& [key, one] : said_)
        if (auto still = now.find(key); still == now.end() || still->second.uid != one.uid)
            inside_->executor.post([inside = inside_.get(), uid = one.uid] { inside->session.remove(uid); });
    for (const auto& [key, one] : now) {
        auto before = said_.find(key);
        if (before != said_.end() && before->second == one) continue;
        xds::PodReport report{one.uid, one.name_space, one.name, one.enrolled, one.reason, false};
        inside_->executor.post([inside = inside_.get(), report] { inside->session.set(report); });
    }
    said_ = std::move(now);
    if (std::exchange(started_, true)) return;
    // Not earlier: a stream begins with the whole picture, and an empty one would take every pod out of the
    // mesh.
    inside_->executor.post([inside = inside_.get()] { inside->session.start(); });
}

bool Reports::in_sync() const { return inside_->in_sync; }

}  // namespace culvert::agent
