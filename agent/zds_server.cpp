#include "agent/zds_server.h"

#include "agent/os.h"
#include "lib/base/log.h"

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <unistd.h>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
constexpr Duration answer_deadline = 5s;     // Z-10
constexpr Duration between_accepts = 200ms;  // Z-10: at most five a second

}  // namespace

struct ZdsServer::Connection {
    Connection(io::Loop& loop, io::PacketSocket connected)
        : socket(std::move(connected)), wake(loop), scope(loop) {}
    io::PacketSocket socket;
    ZdsSession session;
    io::Event wake;   // for who talks: there may be something to say, or an answer came
    io::Scope scope;  // one task that listens, one that talks; the first that ends ends both
    std::uint64_t number = 0;
    pid_t pid = 0;
};

ZdsServer::ZdsServer(io::Loop& loop, const Group& ztunnel, ExpectedPeer expected,
                     std::function<void()> changed)
    : loop_(loop), ztunnel_(ztunnel), expected_(std::move(expected)), changed_(std::move(changed)),
      children_(loop) {}

ZdsServer::~ZdsServer() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

Result<Done> ZdsServer::listen(const std::string& path) {
    TRY(io::PacketListener listener, io::PacketListener::open(loop_, path, 0600));
    listener_.emplace(std::move(listener));
    path_ = path;
    return Done{};
}

io::Task<Result<Done>> ZdsServer::serve() {
    for (;;) {
        Result<io::PacketSocket> socket = co_await listener_->accept();
        if (socket) let_in(std::move(*socket));
        // Also after an error: one connection's fault, or a lack of descriptors that may pass.
        Result<Done> paused = co_await io::sleep(loop_, between_accepts);
        if (!paused) break;
    }
    children_.cancel();
    co_await children_.join();
    co_return refuse(Reason::cancelled);
}

Result<Done> ZdsServer::admit(const io::PacketSocket& socket, Connection& connection) {
    if (connections_.size() >= connections_max)
        return refuse(Reason::limit, "too many ztunnels are connected");
    TRY(io::PeerCredentials credentials, socket.peer());
    connection.pid = credentials.pid;
    TRY(PeerFacts peer, look_at_peer(credentials.pid, credentials.uid));
    TRY(PeerVerdict verdict, judge(peer, expected_));
    if (verdict == PeerVerdict::accept) return Done{};
    // Before its first Add: sockets that it opens in pods must be its group's (decision 7).
    TRY_DONE(ztunnel_.take(credentials.pid));
    TRY(peer.group, group_of(credentials.pid));
    if (peer.group != ztunnel_.name())
        return refuse(Reason::permission,
                      "ztunnel did not arrive in " + ztunnel_.name() + ": it is in " + peer.group);
    return Done{};
}

void ZdsServer::let_in(io::PacketSocket socket) {
    auto connection = std::make_unique<Connection>(loop_, std::move(socket));
    Result<Done> admitted = admit(connection->socket, *connection);
    if (!admitted) {
        last_refusal_ = admitted.error().to_string();
        log::warn("zds", "refused a connection: it is not our ztunnel", {log::text("reason", last_refusal_)});
        changed_();
        return;
    }
    connection->number = ++last_number_;
    log::info("zds", "ztunnel connected", {log::number("pid", static_cast<std::uint64_t>(connection->pid))});
    connections_.push_back(std::move(connection));
    Place at = std::prev(connections_.end());
    if (!children_.start(attend(at))) connections_.erase(at);
}

io::Task<Result<Done>> ZdsServer::attend(Place at) {
    Connection& connection = **at;
    // Without memory for both it is as if the ztunnel had gone: it comes again.
    if (!connection.scope.start(listen_to(connection), talk_to(connection)))
        log::warn("zds", "no memory to serve a ztunnel");
    co_await connection.scope.join();
    log::info("zds", "ztunnel disconnected",
              {log::number("pid", static_cast<std::uint64_t>(connection.pid))});
    connections_.erase(at);
    changed_();
    co_return Done{};
}

io::Task<Result<Done>> ZdsServer::listen_to(Connection& connection) {
    Result<Done> outcome = Done{};
    while (outcome) {
        Result<io::Packet> packet = co_await connection.socket.receive();
        if (!packet || packet->bytes.empty()) break;  // it went away
        Result<ZdsSession::Heard> heard =
            connection.session.received(packet->bytes, packet->descriptors.size());
        if (!heard) {
            log::warn("zds", "protocol error of ztunnel", {log::text("reason", heard.error().to_string())});
            outcome = refuse(std::move(heard));
            break;
        }
        if (*heard == ZdsSession::Heard::hello) connection.session.begin(workloads());
        connection.wake.set();
        changed_();
    }
    connection.scope.cancel();
    co_return outcome;
}

io::Task<Result<Done>> ZdsServer::talk_to(Connection& connection) {
    for (;;) {
        std::optional<ZdsSession::Outgoing> outgoing = connection.session.next();
        if (outgoing) {
            Result<Done> delivered = co_await deliver(connection, std::move(*outgoing));
            if (!delivered) break;
        } else {
            Result<Done> woken = co_await connection.wake.wait();
            if (!woken) break;
        }
    }
    connection.scope.cancel();
    co_return Done{};
}

namespace {

io::Task<Result<Done>> next_answer(io::Event& wake, const ZdsSession& session) {
    while (session.awaits_answer()) {
        CO_TRY_DONE(co_await wake.wait());
    }
    co_return Done{};
}

}  // namespace

io::Task<Result<Done>> ZdsServer::deliver(Connection& connection, ZdsSession::Outgoing outgoing) {
    Fd netns;
    if (!outgoing.netns_of.empty()) {
        auto pod = pods_.find(outgoing.netns_of);
        if (pod == pods_.end()) co_return refuse(Reason::pod_removed);
        // Our own copy: the pod may be untold and its number reused while the socket is full.
        netns = Fd(::fcntl(pod->second.netns, F_DUPFD_CLOEXEC, 0));
    }
    io::Task<Result<Done>> sending = connection.socket.send(outgoing.bytes, netns.get());
    Result<Done> sent = co_await io::within(loop_, answer_deadline, std::move(sending));
    if (sent) {
        io::Task<Result<Done>> answering = next_answer(connection.wake, connection.session);
        sent = co_await io::within(loop_, answer_deadline, std::move(answering));
    }
    if (!sent && sent.error().reason != Reason::cancelled) {
        log::warn("zds", "ztunnel does not answer: its connection is closed",
                  {log::text("reason", sent.error().to_string())});
    }
    co_return sent;
}

void ZdsServer::tell(const Workload& workload, int netns) {
    pods_[workload.uid] = {workload, netns};
    if (Connection* connection = newest()) {  // Adds go to the newest only (Z-10)
        connection->session.add(workload);
        connection->wake.set();
    }
}

void ZdsServer::untell(const std::string& uid) {
    pods_.erase(uid);
    for (const auto& connection : connections_) {
        connection->session.remove(uid);
        connection->wake.set();
    }
}

void ZdsServer::ask_again(const std::string& uid) {
    auto pod = pods_.find(uid);
    Connection* connection = newest();
    if (pod == pods_.end() || !connection) return;
    connection->session.remove(uid);
    connection->session.add(pod->second.workload);
    connection->wake.set();
}

ZtunnelAnswer ZdsServer::answer(const std::string& uid) const {
    const Connection* connection = newest();
    if (!connection) return {};
    return {connection->session.ack(uid), connection->session.error_of(uid), connection->number};
}

// One that has said hello: before, it may not be a ztunnel at all.
ZdsServer::Connection* ZdsServer::newest() const {
    for (auto at = connections_.rbegin(); at != connections_.rend(); ++at)
        if ((*at)->session.greeted()) return at->get();
    return nullptr;
}

std::vector<Workload> ZdsServer::workloads() const {
    std::vector<Workload> all;
    for (const auto& [uid, pod] : pods_) all.push_back(pod.workload);
    return all;
}

std::vector<ZdsServer::Connected> ZdsServer::connected() const {
    std::vector<Connected> all;
    for (const auto& connection : connections_)
        all.push_back({connection->pid, connection->session.live(), connection.get() == newest()});
    return all;
}

}  // namespace culvert::agent
