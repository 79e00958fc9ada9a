#include "ztunnel/node.h"

#include "lib/base/log.h"
#include "lib/io/uring.h"
#include "ztunnel/call.h"
#include "ztunnel/config_dump.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <future>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

constexpr Duration idle_look = 50ms;
constexpr auto gather_wait = 2s;  // a data loop answers within a turn; one that does not is shown as empty

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
    std::unique_ptr<Node> node(new Node(std::move(config), std::move(driver)));
    TRY_DONE(node->make_workers());
    TRY(xds::Node self, xds::proxy_node(node->config_.node_facts));
    auto publish = [&it = *node](mesh::DirectoryPtr directory) { it.publish(std::move(directory)); };
    node->feed_ =
        std::make_unique<XdsFeed>(node->xds_worker_, *node->discovery_, std::move(self),
                                  node->config_.settings.node, node->certs_, publish, node->metrics_);
    return node;
}

Node::Node(Config config, std::unique_ptr<io::Driver> driver)
    : config_(std::move(config)), xds_worker_("xds", system_clock()),
      discovery_(xds::grpc_delta_transport(xds_worker_, config_.discovery)),
      authority_(xds::grpc_ca_transport(xds_worker_, config_.authority)),
      certs_(xds_worker_, *authority_, {.ttl = config_.secret_ttl, .profile = config_.profile}, metrics_),
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

Result<Done> Node::start() {
    TRY_DONE(admin_.listen(config_));
    std::vector<Worker*> all;
    for (auto& worker : workers_) all.push_back(worker.get());
    for (Worker* worker : all) worker->start(all);
    naming_.start(zds_->run());
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "control");
        loop_.run();
    });
    xds_worker_.post([this] { feed_->start(); });
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

// What each data loop says of itself. Blocks the control loop for a turn of theirs: they never wait for it.
template <class T> std::vector<T> Node::gather(T (*read)(Worker& worker)) {
    std::vector<std::future<T>> asked;
    for (auto& worker : workers_) {
        auto answer = std::make_shared<std::promise<T>>();
        asked.push_back(answer->get_future());
        worker->loop().post_message([answer, read, &it = *worker] { answer->set_value(read(it)); });
    }
    std::vector<T> out;
    for (auto& each : asked)
        if (each.wait_for(gather_wait) == std::future_status::ready) out.push_back(each.get());
    return out;
}

std::string Node::dump() {
    DumpInput input;
    {
        std::lock_guard held(directory_lock_);
        input.directory = directory_;
    }
    input.certificates = certs_.list();
    input.pods = pods_->list();
    input.config = shown(config_);
    for (auto& lines : gather(+[](Worker& worker) { return worker.shard().connections().list(); }))
        input.connections.insert(input.connections.end(), lines.begin(), lines.end());
    return config_dump(input);
}

std::string Node::tasks() {
    std::string out = "control\n" + loop_.parked();
    for (const std::string& each : gather(+[](Worker& worker) { return worker.loop().parked(); }))
        out += "\ndata\n" + each;
    return out;
}

std::vector<std::string> Node::pending() const {
    std::vector<std::string> out;
    if (!feed_->is_ready()) out.push_back("state manager");
    if (!zds_->is_ready()) out.push_back("workload proxy manager");
    return out;
}

io::Task<bool> Node::all_idle() {
    for (auto& worker : workers_) {
        std::move_only_function<Result<bool>()> look = [&it = *worker] {
            return Result<bool>(it.shard().connections().size() == 0);
        };
        io::Loop& there = worker->loop();
        auto idle = co_await call(loop_, there, std::move(look));
        if (!idle || !*idle) co_return false;
    }
    co_return true;
}

io::Task<void> Node::end() {
    zds_->stop();
    co_await naming_.join();
    co_await pods_->drain();
    const Instant until = loop_.now() + config_.drain;
    for (;;) {
        bool idle = co_await all_idle();
        if (idle || loop_.now() >= until) break;
        auto slept = co_await io::sleep(loop_, idle_look);
        if (!slept) break;
    }
    co_await pods_->cut_all(Reason::draining);
    scope_.cancel();
    co_await scope_.join();
    loop_.stop();
}

void Node::drain_and_stop() {
    log::info("node", "draining", {log::number("seconds", static_cast<std::uint64_t>(config_.drain / 1s))});
    loop_.post_message([this] { ending_.start(end()); });
    thread_.join();
    xds_worker_.post([this] { feed_->stop(); });
    xds_worker_.stop();
    for (auto& worker : workers_) worker->stop();
    log::info("node", "ended");
}

Node::~Node() { check(!thread_.joinable()); }

}  // namespace culvert::ztunnel
