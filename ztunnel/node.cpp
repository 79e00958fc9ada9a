#include "ztunnel/node.h"

#include "lib/base/log.h"
#include "lib/io/uring.h"
#include "ztunnel/call.h"
#include "ztunnel/config_dump.h"
#include "ztunnel/telemetry.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

constexpr Duration idle_look = 50ms;
constexpr Duration gather_wait = 2s;  // a data loop answers within a turn
constexpr Duration cut_again = 50ms;  // there was no memory for it

void raise_descriptor_limit() {
    rlimit files{};
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

std::int64_t open_descriptors() {
    std::int64_t count = -1;  // the one that reads the directory
    std::unique_ptr<DIR, decltype(&closedir)> folder(opendir("/proc/self/fd"), closedir);
    while (folder && readdir(folder.get())) ++count;
    return std::max<std::int64_t>(count - 2, 0);  // "." and ".."
}

std::int64_t descriptors_max() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    return static_cast<std::int64_t>(files.rlim_cur);
}

std::vector<std::pair<std::string, std::string>> shown(const Config& config) {
    return {{"node", config.settings.node},
            {"network", config.settings.around.network},
            {"clusterId", config.settings.cluster},
            {"clusterDomain", config.settings.around.cluster_domain},
            {"xdsAddress", config.discovery.address},
            {"caAddress", config.authority.address},
            {"inpodUds", config.zds_path},
            {"numWorkerThreads", std::to_string(config.workers)}};
}

}  // namespace

Result<std::unique_ptr<Node>> Node::make(Config config) {
    raise_descriptor_limit();
    TRY_DONE(xds::validate(config.discovery));
    TRY_DONE(xds::validate(config.authority));
    TRY(auto driver, io::make_uring({.buffers = 4}));
    // One pod gets at most half of the descriptors (S21).
    std::size_t share = static_cast<std::size_t>(descriptors_max()) / 2 / config.workers;
    config.settings.sockets_max = std::min(config.settings.sockets_max, share);
    std::unique_ptr<Node> node(new Node(std::move(config), std::move(driver)));
    TRY_DONE(node->make_workers());
    TRY(xds::Node self, xds::proxy_node(node->config_.node_facts));
    auto publish = [&it = *node](mesh::DirectoryPtr directory) { it.publish(std::move(directory)); };
    node->feed_ =
        std::make_unique<XdsFeed>(node->xds_executor_, *node->discovery_, std::move(self),
                                  node->config_.settings.node, node->certs_, publish, node->metrics_);
    return node;
}

Node::Node(Config config, std::unique_ptr<io::Driver> driver)
    : config_(std::move(config)), xds_executor_("xds", system_clock()),
      discovery_(xds::grpc_delta_transport(xds_executor_, config_.discovery)),
      authority_(xds::grpc_ca_transport(xds_executor_, config_.authority)),
      certs_(xds_executor_, *authority_, {.ttl = config_.secret_ttl, .profile = config_.profile}, metrics_),
      loop_(std::move(driver)), scope_(loop_), naming_(loop_), ending_(loop_),
      admin_(loop_, scope_,
             {.dump = [this] { return dump(); },
              .pending = [this] { return pending(); },
              .tasks = [this] { return tasks(); },
              .quit = [] { kill(getpid(), SIGTERM); },
              .metrics = metrics_}) {}

Result<Done> Node::make_workers() {
    std::vector<Worker*> all;
    for (unsigned i = 0; i < config_.workers; ++i) {
        TRY(auto worker, Worker::make(config_.settings, certs_, metrics_));
        all.push_back(worker.get());
        workers_.push_back(std::move(worker));
    }
    certs_.on_roots_changed([this](const mesh::Identity& identity) {
        for (auto& worker : workers_) worker->roots_changed(identity);
    });
    pods_ = std::make_unique<Pods>(loop_, all, config_.doors, metrics_);
    zds_ = std::make_unique<Zds>(loop_, *pods_, config_.zds_path, metrics_);
    sample_process();
    return Done{};
}

void Node::sample_process() {
    metrics_
        .gauge("istio_build", "Build of this program", {{"component", "ztunnel"}, {"tag", CULVERT_VERSION}})
        .set(1);
    metrics_.sample("process_open_fds", "Open descriptors", open_descriptors);
    metrics_.sample("process_max_fds", "Limit of descriptors", descriptors_max);
    metrics_.sample("culvert_log_lines_dropped", "Log lines dropped because stdout was too slow",
                    [] { return static_cast<std::int64_t>(log::dropped_lines()); });
}

Result<Done> Node::open_ports() {
    TRY_DONE(admin_.listen(config_));
    if (!naming_.start(zds_->run())) return refuse(Reason::limit, "no memory to follow the agent");
    return Done{};
}

Result<Done> Node::start() {
    if (auto opened = open_ports(); !opened) {
        scope_.cancel();  // the ports before the one that is busy
        loop_.run_until_idle();
        return opened;
    }
    std::vector<Worker*> all;
    for (auto& worker : workers_) all.push_back(worker.get());
    for (Worker* worker : all) worker->start(all);
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "control");
        loop_.run();
    });
    xds_executor_.post([this] { feed_->start(); });
    if (config_.settings.around.mesh_ranges.empty())
        log::warn("node", "CULVERT_MESH_RANGES is not set: a pod that the controller has not named yet is "
                          "reached in plain TCP, like any address outside the mesh");
    log::info("node", "started",
              {log::text("node", config_.settings.node), log::text("controller", config_.discovery.address),
               log::number("workers", config_.workers)});
    return Done{};
}

void Node::publish(mesh::DirectoryPtr directory) {
    {
        std::lock_guard held(directory_lock_);
        directory_ = directory;
    }
    for (auto& worker : workers_) worker->publish(directory);
}

template <class T> std::vector<io::Task<Result<T>>> Node::ask_all(Question<T> question) {
    std::vector<io::Task<Result<T>>> asked;
    for (auto& worker : workers_) asked.push_back((*worker.*question)(loop_));
    return asked;
}

io::Task<Result<std::string>> Node::dump() {
    DumpInput input;
    {
        std::lock_guard held(directory_lock_);
        input.directory = directory_;
    }
    input.certificates = certs_.list();
    input.pods = pods_->list();
    input.config = shown(config_);
    input.refusals = refusals_of(metrics_);
    auto asked = ask_all(&Worker::connections);
    auto answers = co_await gather(loop_, gather_wait, std::move(asked));
    for (auto& lines : answers) {
        if (lines)
            input.connections.insert(input.connections.end(), lines->begin(), lines->end());
        else
            log::warn("node", "a data loop does not answer: its connections are not in the dump");
    }
    co_return config_dump(input);
}

io::Task<Result<std::string>> Node::tasks() {
    std::string out = "control\n" + loop_.parked();
    auto asked = ask_all(&Worker::parked);
    auto answers = co_await gather(loop_, gather_wait, std::move(asked));
    for (const auto& each : answers) out += "\ndata\n" + each.value_or("no answer: it does not turn\n");
    co_return out;
}

std::vector<std::string> Node::pending() const {
    std::vector<std::string> out;
    if (!feed_->is_ready()) out.push_back("state manager");
    if (!zds_->is_ready()) out.push_back("workload proxy manager");
    return out;
}

io::Task<void> Node::end() {
    zds_->stop();
    co_await naming_.join();
    auto drained = co_await pods_->drain();
    if (!drained)
        log::warn("node", "not every pod was drained", {log::text("error", drained.error().to_string())});
    const Instant until = loop_.now() + config_.drain;
    while (loop_.now() < until) {
        auto asked = ask_all(&Worker::open_connections);
        auto open = co_await gather(loop_, gather_wait, std::move(asked));
        if (std::ranges::all_of(open, [](const auto& count) { return count == 0; })) break;
        auto slept = co_await io::sleep(loop_, idle_look);
        if (!slept) break;
    }
    for (;;) {
        auto cut = co_await pods_->cut_all(Reason::draining);
        if (cut) break;
        auto slept = co_await io::sleep(loop_, cut_again);
        if (!slept) break;
    }
    scope_.cancel();
    co_await scope_.join();
    loop_.stop();
}

// The end comes, whatever there is memory for at the moment.
void Node::begin_end() {
    if (!ending_.start(end())) loop_.post_message([this] { begin_end(); });
}

void Node::drain_and_stop() {
    log::info("node", "draining", {log::number("seconds", static_cast<std::uint64_t>(config_.drain / 1s))});
    loop_.post_message([this] { begin_end(); });
    thread_.join();
    xds_executor_.post([this] { feed_->stop(); });
    xds_executor_.stop();
    for (auto& worker : workers_) worker->stop();
    log::info("node", "ended");
}

Node::~Node() { check(!thread_.joinable()); }

}  // namespace culvert::ztunnel
