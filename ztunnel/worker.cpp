#include "ztunnel/worker.h"

#include "bpf/abi.h"
#include "lib/base/log.h"
#include "lib/io/uring.h"
#include "ztunnel/call.h"
#include "ztunnel/dns_server.h"
#include "ztunnel/listening.h"

#include <pthread.h>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

constexpr Duration accept_pause = 50ms;  // out of descriptors or memory: what is queued waits in the kernel
constexpr Duration crowd_pause = 1ms;
constexpr Duration queue_quiet = 20ms;   // an accept queue that stays empty this long has run dry
constexpr Duration queue_drain = 200ms;  // without a successor they keep coming: then they are refused

io::Task<Result<io::Socket>> next_connection(io::Listener& listener) { co_return co_await listener.accept(); }

}  // namespace

struct Worker::Door {
    Door(Worker& worker, std::shared_ptr<const PodInfo> info)
        : view(*worker.shard_, std::move(info)), accepting(worker.loop_) {}
    struct Port {
        io::Listener listener;
        Enter enter;
    };
    PodView view;
    io::Scope accepting;
    std::vector<std::unique_ptr<Port>> ports;
    std::unique_ptr<DnsServer> dns;
};

Result<std::unique_ptr<Worker>> Worker::make(const Settings& settings, Certs& certs, Registry& metrics) {
    TRY(auto driver, io::make_uring());
    return std::unique_ptr<Worker>(new Worker(std::move(driver), settings, certs, metrics));
}

Worker::Worker(std::unique_ptr<io::Driver> driver, const Settings& settings, Certs& certs, Registry& metrics)
    : metrics_(metrics), loop_(std::move(driver)), scope_(loop_),
      credentials_(std::make_shared<LoopCredentials>(loop_, certs)) {
    shard_ = std::make_unique<Shard>(ShardParts{loop_, settings, *credentials_, handshakes_, metrics});
    certs.add_loop(credentials_);
}

Worker::~Worker() { stop(); }

void Worker::start(std::vector<Worker*> all) {
    all_ = std::move(all);
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "data");
        loop_.run();
    });
}

void Worker::stop() {
    if (!thread_.joinable()) return;
    loop_.stop();
    thread_.join();
}

void Worker::publish(mesh::DirectoryPtr directory) {
    loop_.post_message(
        [this, directory = std::move(directory)]() mutable { shard_->publish(std::move(directory)); });
}

void Worker::roots_changed(const mesh::Identity& identity) {
    loop_.post_message([this, identity] { shard_->roots_changed(identity); });
}

Worker::Door* Worker::door(const std::string& uid) {
    auto found = doors_.find(uid);
    return found == doors_.end() ? nullptr : found->second.get();
}

io::Task<Result<Done>> Worker::open_door(io::Loop& here, std::shared_ptr<const PodInfo> info) {
    return call<Done>(here, loop_, [this, info = std::move(info)] {
        doors_.insert_or_assign(info->uid, std::make_unique<Door>(*this, info));
        return Done{};
    });
}

io::Task<Result<Done>> Worker::listen(io::Loop& here, std::string uid, DoorSettings doors) {
    return call<Done>(here, loop_, [this, uid = std::move(uid), doors = std::move(doors)] {
        return listen_here(uid, doors);
    });
}

io::Task<Result<Done>> Worker::stop_listening(io::Loop& here, std::string uid) {
    return call_task<Done>(here, scope_, [this, uid = std::move(uid)] { return stop_listening_here(uid); });
}

io::Task<Result<Done>> Worker::close_door(io::Loop& here, std::string uid, Reason why) {
    return call_task<Done>(here, scope_,
                           [this, uid = std::move(uid), why] { return close_door_here(uid, why); });
}

io::Task<Result<std::vector<ConnectionLine>>> Worker::connections(io::Loop& here) {
    return call<std::vector<ConnectionLine>>(here, loop_, [this] { return shard_->connections().list(); });
}

io::Task<Result<std::size_t>> Worker::open_connections(io::Loop& here) {
    return call<std::size_t>(here, loop_, [this] { return shard_->connections().size(); });
}

io::Task<Result<std::string>> Worker::parked(io::Loop& here) {
    return call<std::string>(here, loop_, [this] { return loop_.parked(); });
}

void Worker::drain(std::string uid) {
    loop_.post_message([this, uid = std::move(uid)] {
        if (Door* pod = door(uid)) pod->view.drain();
    });
}

Result<Done> Worker::listen_here(const std::string& uid, const DoorSettings& doors) {
    Door* pod = door(uid);
    if (!pod) return refuse(Reason::pod_removed);
    const struct {
        std::uint16_t port;
        std::uint32_t role;
        Enter enter;
    } wanted[] = {{doors.outbound, CV_ROLE_OUTBOUND, &PodView::outbound},
                  {doors.inbound, CV_ROLE_INBOUND, &PodView::passthrough},
                  {doors.hbone, CV_ROLE_HBONE, &PodView::inbound}};
    std::vector<std::unique_ptr<Door::Port>> ports;
    for (const auto& each : wanted) {
        io::ListenOptions options{
            .role = doors.announce ? each.role : 0, .reuse_port = doors.reuse_port, .mark = doors.mark};
        auto listener = open_at_any(each.port, doors.announce, [&](std::uint16_t port) {
            const Address at{doors.ipv6 ? Ip() : Ip::v4(0), port};
            return io::Listener::open(loop_, pod->view.info().where, at, options);
        });
        if (!listener)
            return refuse_port(std::move(listener).error(), "port " + std::to_string(each.port), uid);
        ports.push_back(std::make_unique<Door::Port>(std::move(*listener), each.enter));
    }
    TRY_DONE(serve_dns(*pod, doors));
    pod->ports = std::move(ports);
    // Half-open until the door is closed, as after every other error.
    for (auto& port : pod->ports)
        if (!pod->accepting.start(accept_all(*pod, port->listener, port->enter)))
            return refuse(Reason::limit, "no memory to listen for pod " + uid);
    return Done{};
}

Result<Done> Worker::serve_dns(Door& pod, const DoorSettings& doors) {
    if (!doors.dns) return Done{};
    DnsOptions options{.ipv6 = doors.ipv6,
                       .reuse_port = doors.reuse_port,
                       .announce = doors.announce,
                       .mark = doors.mark,
                       .resolvers = doors.resolvers};
    pod.dns = std::make_unique<DnsServer>(pod.view, options, metrics_);
    auto started = pod.dns->start();
    if (!started) {
        pod.dns.reset();
        return refuse_port(std::move(started).error(), "DNS port " + std::to_string(options.port),
                           pod.view.info().uid);
    }
    return Done{};
}

void Worker::admit(const std::string& uid, io::Socket socket, Enter enter) {
    if (Door* pod = door(uid)) (pod->view.*enter)(std::move(socket));
}

io::Task<void> Worker::accept_all(Door& pod, io::Listener& listener, Enter enter) {
    const std::string uid = pod.view.info().uid;
    for (;;) {
        auto socket = co_await listener.accept();
        if (!socket) {
            if (io::Listener::is_over(socket.error())) co_return;
            auto slept = co_await io::sleep(loop_, accept_pause);
            if (!slept) co_return;
            continue;
        }
        // In a burst accepting would always win over what it began: slower, never stopped, since what begins
        // may wait for somebody slow.
        if (pod.view.crowded()) {
            auto slept = co_await io::sleep(loop_, crowd_pause);
            if (!slept) co_return;
        }
        Worker& next = *all_[next_++ % all_.size()];
        if (&next == this) {
            (pod.view.*enter)(std::move(*socket));
            continue;
        }
        socket->move_to(next.loop_);
        next.loop_.post_message([&next, uid, enter, moved = std::move(*socket)]() mutable {
            next.admit(uid, std::move(moved), enter);
        });
    }
}

io::Task<void> Worker::take_queued(Door& pod, io::Listener& listener, Enter enter) {
    const Instant until = loop_.now() + queue_drain;
    while (loop_.now() < until) {
        auto socket = co_await io::within(loop_, queue_quiet, next_connection(listener));
        if (!socket) co_return;
        (pod.view.*enter)(std::move(*socket));
    }
}

io::Task<Result<Done>> Worker::stop_listening_here(std::string uid) {
    Door* pod = door(uid);
    if (!pod) co_return Done{};
    pod->accepting.cancel();
    co_await pod->accepting.join();
    for (auto& port : pod->ports) co_await take_queued(*pod, port->listener, port->enter);
    pod->ports.clear();
    co_return Done{};
}

io::Task<Result<Done>> Worker::close_door_here(std::string uid, Reason why) {
    Door* pod = door(uid);
    if (!pod) co_return Done{};
    pod->accepting.cancel();
    co_await pod->accepting.join();
    pod->ports.clear();
    if (pod->dns) co_await pod->dns->stop();
    pod->view.cut(why);
    co_await pod->view.join();
    doors_.erase(uid);
    co_return Done{};
}

}  // namespace culvert::ztunnel
