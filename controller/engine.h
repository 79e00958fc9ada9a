// The graph's thread: manifests and reports in, snapshots out (decision 20). It owns the graph, the
// enrolments and what follows from them: the published snapshot, the residents that the authority asks, the
// nodes' files, the picture for status.
//
// What arrives is posted to the executor; however much arrives while one round runs is one round afterwards:
// a change is published at once, a burst together. A report is acknowledged when what it says is on disk and
// published, and its call ends when it is refused or cannot be kept.
#pragma once
#include "controller/enrolment.h"
#include "controller/graph.h"
#include "controller/node_files.h"
#include "controller/picture.h"
#include "controller/publish.h"
#include "controller/refusals.h"
#include "controller/residents.h"
#include "lib/xds/executor.h"
#include "lib/xds/handlers.h"

#include <memory>
#include <mutex>
#include <set>

namespace culvert::controller {

class Engine final : public xds::ReportHandler {
public:
    struct Parts {
        xds::Executor& executor;
        Residents& residents;
        NodeFiles& files;
        Refusals& refusals;
        Board& board;
        Registry& metrics;
        Publish::Out publish;
    };
    Engine(Mesh mesh, Enrolments enrolments, Parts parts);
    ~Engine() = default;  // after the executor has stopped
    Engine(const Engine&) = delete;

    // From any thread. Only the latest snapshot counts.
    void manifests(kube::SnapshotPtr now);
    void report(const xds::Caller& caller, xds::Report report, Applied applied) override;

private:
    void take_manifests();
    void take_objects(const kube::Snapshot& next);
    void take_nodes();
    void take_report(const xds::Caller& caller, const xds::Report& report, Applied applied);
    void replace(const kube::Key& key, const kube::ObjectPtr& before, const kube::ObjectPtr& now);
    void see_again(const std::string& pod);
    void flush_soon();
    void flush();
    void take_notes();
    void refresh_files();
    void renew_files();
    void show();

    Parts parts_;
    Graph graph_;
    Enrolments enrolments_;
    Publish publish_;
    kube::SnapshotPtr now_;         // in force
    std::vector<Applied> applied_;  // reports that the next flush acknowledges
    std::set<std::string, std::less<>> nodes_;
    std::set<std::string, std::less<>> unsaved_;  // nodes whose last report is not on disk
    std::vector<kube::Problem> notes_;            // of the graph, ascending
    bool flush_posted_ = false;
    bool renewing_ = false;

    std::mutex lock_;
    kube::SnapshotPtr next_;  // came and was not taken yet
};

}  // namespace culvert::controller
