#include "agent/agent.h"

#include "agent/netlink.h"
#include "agent/os.h"
#include "agent/privileges.h"
#include "agent/uninstall.h"
#include "lib/base/log.h"
#include "lib/io/uring.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;

// Somebody waits: for a namespace that nobody announces, or for ztunnel's listeners. Otherwise only what
// somebody else did to the kernel's state could be news.
constexpr Duration unsettled_interval = 250ms;
constexpr Duration settled_interval = 2s;

struct Groups {
    Group root;
    Group ztunnel;
    std::vector<std::uint64_t> pods;
};

Result<Groups> open_groups(const Settings& settings) {
    std::string root_path = settings.capture_group;
    if (root_path.empty()) {
        TRY(root_path, cgroup2_mount());
    }
    TRY(Group root, Group::open(root_path));
    std::string ztunnel_path =
        settings.ztunnel_group.empty() ? root.path() + "/culvert-ztunnel" : settings.ztunnel_group;
    TRY(Group ztunnel, Group::make(ztunnel_path));
    std::vector<std::uint64_t> pods;
    for (const std::string& path : settings.pod_groups) {
        TRY(Group group, Group::open(path));
        pods.push_back(group.id());
    }
    return Groups{std::move(root), std::move(ztunnel), std::move(pods)};
}

Result<Done> make_directory(const std::string& path) {
    std::error_code failed;
    std::filesystem::create_directories(path, failed);
    if (failed) return refuse_call("cannot make " + path, failed.value());
    return Done{};
}

// For the rest of the process's life: all threads that are made later are born there.
Result<Done> enter_node(const std::string& path) {
    if (path.empty()) return Done{};
    TRY(Fd node, io::open_netns(path));
    if (::setns(node.get(), CLONE_NEWNET) != 0) return refuse_call("cannot enter " + path, errno);
    return Done{};
}

Result<std::uint64_t> own_cookie() {
    TRY(Fd own, io::open_netns("/proc/thread-self/ns/net"));
    return cookie_of(own.get());
}

// A mistyped path is an error of whoever starts us for the first time. Where an earlier agent captured pods,
// a directory that is gone is waited for: they must be served meanwhile.
Result<Done> look_for_manifests(const Settings& settings) {
    std::error_code failed;
    if (std::filesystem::is_directory(settings.manifests, failed) || PinDirectory::find(settings.bpffs))
        return Done{};
    return refuse(Reason::bad_configuration, "--manifests: there is no directory " + settings.manifests +
                                                 ": make it, or name another one");
}

sigset_t ending_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGINT);
    return set;
}

Result<Fd> open_signals() {
    sigset_t set = ending_signals();
    Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd.open()) return refuse_call("cannot wait for signals", errno);
    return fd;
}

ExpectedPeer expected_ztunnel(const Settings& settings, const Group& group) {
    return {::geteuid(), settings.ztunnel_program, group.name(), settings.adopt_ztunnel};
}

}  // namespace

void block_signals() {
    sigset_t set = ending_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
}

struct Agent::Opened {
    Groups groups;
    std::uint64_t node_cookie = 0;
    std::unique_ptr<Capture> capture;
    std::unique_ptr<io::Driver> driver;
    std::unique_ptr<Reports> reports;
    Fd signals;
    Fd addresses;
    Fd claim;
};

Result<std::unique_ptr<Agent>> Agent::start(const Settings& settings) {
    TRY_DONE(look_for_manifests(settings));
    TRY(Fd signals, open_signals());
    TRY(Groups groups, open_groups(settings));  // by path, while the paths are there (decision 7)
    TRY_DONE(make_directory(settings.run_directory));
    TRY(Fd claim, claim_run_directory(settings.run_directory));
    TRY_DONE(make_directory(std::filesystem::path(settings.zds_path).parent_path().string()));
    TRY(PinDirectory pins, PinDirectory::open(settings.bpffs));
    TRY_DONE(enter_node(settings.node_namespace));
    TRY(std::uint64_t cookie, own_cookie());
    TRY(std::unique_ptr<Capture> capture, Capture::start(std::move(pins), groups.root, groups.ztunnel,
                                                         {cookie, groups.pods, settings.probe_all_ports}));
    TRY(std::unique_ptr<io::Driver> driver, io::make_uring({.buffers = 4, .buffer_size = 64 << 10}));
    Fd addresses(::epoll_create1(EPOLL_CLOEXEC));
    if (!addresses.open()) return refuse_call("cannot make an epoll", errno);
    TRY_DONE(drop_privileges(!settings.ztunnel_program.empty()));
    std::unique_ptr<Reports> reports;
    if (!settings.controller.empty()) {
        TRY(reports, Reports::start(settings));
    }
    std::unique_ptr<Agent> agent(new Agent(
        settings, {std::move(groups), cookie, std::move(capture), std::move(driver), std::move(reports),
                   std::move(signals), std::move(addresses), std::move(claim)}));
    TRY_DONE(agent->open_doors());
    return agent;
}

Agent::Agent(const Settings& settings, Opened opened)
    : settings_(settings), root_(std::move(opened.groups.root)), ztunnel_(std::move(opened.groups.ztunnel)),
      loop_(std::move(opened.driver)), capture_(std::move(opened.capture)), changed_(loop_),
      zds_(loop_, ztunnel_, expected_ztunnel(settings, ztunnel_), [this] { changed_.set(); }),
      census_({settings.node_name, settings.manifests, settings.root_namespace, settings.membership,
               settings.sweeping, opened.node_cookie},
              *capture_, zds_),
      reports_(std::move(opened.reports)), signals_(std::move(opened.signals)),
      addresses_(std::move(opened.addresses)), claim_(std::move(opened.claim)),
      port_({settings_, root_, ztunnel_, census_, zds_, *capture_, reports_.get(), loop_,
             [this] { changed_.set(); }}),
      tasks_(loop_), last_(loop_), control_(loop_, tasks_) {}

Agent::~Agent() {
    watch_.reset();  // its thread posts to the loop: it ends first
    if (tasks_.children() == 0) return;
    tasks_.cancel();  // start() failed half-way
    loop_.run_until_idle();
}

Result<Done> Agent::open_doors() {
    TRY_DONE(zds_.listen(settings_.zds_path));
    TRY_DONE(control_.listen(settings_.control, port_.routes()));
    auto learn = [this](kube::SnapshotPtr snapshot) {
        loop_.post_message([this, snapshot] {
            census_.learn(snapshot);
            changed_.set();
        });
    };
    TRY(watch_, kube::Watch::start(settings_.manifests, learn));
    return Done{};
}

Result<Done> Agent::run() {
    log::info("agent", "watching node " + settings_.node_name,
              {log::text("manifests", settings_.manifests), log::text("zds", settings_.zds_path),
               log::address("control", settings_.control)});
    Result<Done> ran = begin();
    if (ran)
        loop_.run();
    else
        loop_.run_until_idle();
    watch_.reset();
    log::info("agent", "leaving; capture stays in place");
    return ran;
}

// All or nothing: an agent that does not hear of changes would show a mesh that is not there.
Result<Done> Agent::begin() {
    if (last_.start(wait_for_signal()) &&
        tasks_.start(zds_.serve(), keep_census(), tick(), watch_addresses(), hear_refusals()))
        return Done{};
    tasks_.cancel();
    last_.cancel();
    return refuse(Reason::limit, "no memory for the agent's tasks");
}

io::Task<Result<Done>> Agent::wait_for_signal() {
    Result<Done> asked = co_await io::readable(loop_, signals_.get());
    tasks_.cancel();
    co_await tasks_.join();
    loop_.stop();
    co_return asked;
}

io::Task<Result<Done>> Agent::keep_census() {
    for (;;) {
        CO_TRY_DONE(co_await changed_.wait());
        look();
    }
}

void Agent::look() {
    census_.round();
    follow_watches();
    port_.forget_the_gone();
    report();
}

void Agent::report() {
    if (!reports_ || !census_.knows_manifests()) return;
    std::map<std::string, Enrolment> now;
    for (const auto& [key, pod] : census_.pods())
        now[key] = {pod->uid.empty() ? key : pod->uid, pod->spec.name_space, pod->spec.name, pod->enrolled(),
                    pod->enrolled() ? std::string() : pod->why_outside()};
    reports_->say(std::move(now));
}

io::Task<Result<Done>> Agent::tick() {
    for (;;) {
        Duration interval = census_.settled() ? settled_interval : unsettled_interval;
        CO_TRY_DONE(co_await io::sleep(loop_, interval));
        changed_.set();
    }
}

void Agent::follow_watches() {
    for (int watch : census_.watches()) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = watch;
        // Those that are in it already say EEXIST; closed ones left by themselves.
        (void)::epoll_ctl(addresses_.get(), EPOLL_CTL_ADD, watch, &event);
    }
}

io::Task<Result<Done>> Agent::watch_addresses() {
    for (;;) {
        CO_TRY_DONE(co_await io::readable(loop_, addresses_.get()));
        std::array<epoll_event, 64> events;
        int count = ::epoll_wait(addresses_.get(), events.data(), static_cast<int>(events.size()), 0);
        for (int i = 0; i < count; ++i)
            census_.addresses_changed(events[static_cast<std::size_t>(i)].data.fd);
    }
}

io::Task<Result<Done>> Agent::hear_refusals() {
    for (;;) {
        CO_TRY_DONE(co_await io::readable(loop_, capture_->refusals_fd()));
        capture_->drain([this](const Refusal& refusal) { port_.note(refusal); });
    }
}

}  // namespace culvert::agent
