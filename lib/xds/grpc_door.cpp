#include "lib/xds/grpc_door.h"

#include "lib/base/ip.h"
#include "lib/base/log.h"
#include "lib/io/address.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <list>
#include <mutex>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace culvert::xds {
namespace {

constexpr int turn_ms = 250;  // how exactly `unproven_wait` is kept
constexpr int pause_ms = 20;
constexpr int accepts_a_turn = 256;       // then those who went are seen
constexpr std::size_t other_files = 256;  // descriptors of the process that are no connections

// "ipv4:10.0.0.1:4711", "ipv6:%5B::1%5D:4711": a scope, of a link-local address, is left out.
std::optional<Address> parse_peer(std::string_view peer) {
    const std::size_t colon = peer.find(':');
    if (colon == peer.npos) return {};
    std::string text(peer.substr(colon + 1));
    for (const auto& [code, sign] : {std::pair("%5B", "["), std::pair("%5D", "]")})
        if (const std::size_t at = text.find(code); at != text.npos) text.replace(at, 3, sign);
    if (const std::size_t scope = text.find('%'); scope != text.npos)
        text.erase(scope, text.find(']', scope) - scope);
    return Address::parse(text);
}

std::unexpected<Error> cannot_listen(const std::string& at, int number) {
    return std::unexpected(Error{Reason::io, number,
                                 "cannot listen on " + at + " (" + std::strerror(number) +
                                     "): is the port busy, or the address not ours?"});
}

Result<Fd> listen_at(const addrinfo& at, const std::string& name) {
    Fd fd(::socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.open()) return cannot_listen(name, errno);
    const int on = 1, off = 0;
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // accepted ones inherit it
    if (at.ai_family == AF_INET6) (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (::bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0 || ::listen(fd.get(), SOMAXCONN) != 0)
        return cannot_listen(name, errno);
    return fd;
}

std::uint16_t port_of(const Fd& fd) {
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) return 0;
    return io::from_system(own).value_or(Address{}).port;
}

// All addresses of the name that this machine has, at one port.
Result<std::vector<Fd>> listen_on(const std::string& at) {
    const std::size_t colon = at.rfind(':');
    if (colon == at.npos) return refuse(Reason::io, at + " is no address: write [::]:15012");
    std::string host = at.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    addrinfo hints{};
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (int code = ::getaddrinfo(host.c_str(), at.substr(colon + 1).c_str(), &hints, &found); code != 0)
        return refuse(Reason::io, "cannot listen on " + at + ": " + ::gai_strerror(code));
    std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);
    std::vector<Fd> fds;
    Result<Fd> last = refuse(Reason::io);
    for (addrinfo* one = list.get(); one; one = one->ai_next) {
        if (!fds.empty()) {  // port 0: the first one's
            auto port = htons(port_of(fds[0]));
            if (one->ai_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(one->ai_addr)->sin6_port = port;
            if (one->ai_family == AF_INET) reinterpret_cast<sockaddr_in*>(one->ai_addr)->sin_port = port;
        }
        last = listen_at(*one, at);
        if (last) fds.push_back(std::move(*last));
        // A family that this machine lacks is no fault; a port that somebody has is.
        else if (last.error().detail == EADDRINUSE || last.error().detail == EACCES)
            return refuse(std::move(last));
    }
    if (fds.empty()) return refuse(std::move(last));
    return fds;
}

// Two descriptors a connection: gRPC's and ours.
std::size_t affordable(std::size_t wanted) {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return wanted;
    const auto have = static_cast<std::size_t>(files.rlim_cur);
    return std::min(wanted, have > 2 * other_files ? (have - other_files) / 2 : other_files / 2);
}

}  // namespace

struct Door::Inside {
    // What epoll says of: numbers that are never used again, so that a late event is of nobody.
    static constexpr std::uint64_t of_stop = 0, of_first_listener = 1, of_first_connection = 1'000;

    struct Connection {
        std::uint64_t id = 0;
        Fd mirror;
        Address peer;
        Instant since;
        bool proven = false;
    };
    using Place = std::list<Connection>::iterator;

    Inside(DoorOptions settings, Registry& metrics)
        : options(std::move(settings)),
          open(metrics.gauge("culvert_xds_connections", "Connections on the gRPC port")),
          crowded(metrics.counter("culvert_xds_connections_cut",
                                  "Connections cut before their first good call", {{"reason", "limit"}})),
          late(metrics.counter("culvert_xds_connections_cut", "Connections cut before their first good call",
                               {{"reason", "timed_out"}})) {
        options.connections_max = affordable(options.connections_max);
        options.unproven_max = std::min(options.unproven_max, options.connections_max);
    }

    void run();
    void welcome(int listener);
    void admit(Fd fd, const Address& peer);
    void hang_up(std::uint64_t id);
    void forget(Place at);
    bool watch(int fd, std::uint64_t id, std::uint32_t events) const;
    void cut(Place at, Counter& why);
    void cut_late();
    bool drop_one(int listener);

    DoorOptions options;
    Gauge& open;
    Counter& crowded;
    Counter& late;
    std::vector<Fd> listeners;
    Fd poll, stop;
    Fd spare;  // given up to accept and close one connection when there are no descriptors
    std::function<void(Fd)> enter;
    std::thread thread;

    std::mutex lock;
    std::list<Connection> unproven, known;  // the oldest first
    std::unordered_map<std::uint64_t, Place> by_id;
    std::uint64_t last_id = of_first_connection;
    std::unordered_map<Address, Place> by_peer;
};

void Door::Inside::run() {
    std::array<epoll_event, 64> events;
    for (;;) {
        const int count = ::epoll_wait(poll.get(), events.data(), static_cast<int>(events.size()), turn_ms);
        for (int i = 0; i < count; ++i) {
            const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
            if (id == of_stop) return;
            if (id < of_first_connection)
                welcome(listeners[id - of_first_listener].get());
            else
                hang_up(id);
        }
        cut_late();
    }
}

void Door::Inside::welcome(int listener) {
    for (int i = 0; i < accepts_a_turn; ++i) {
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        Fd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (fd.open()) {
            admit(std::move(fd), io::from_system(from).value_or(Address{}));
            continue;
        }
        if (errno == EAGAIN) return;
        if (errno == ECONNABORTED || errno == EINTR) continue;
        if ((errno != EMFILE && errno != ENFILE) || !drop_one(listener))
            (void)::poll(nullptr, 0, pause_ms);  // a fault that passes: not asked again at once
        return;
    }
}

// No descriptors: whoever waits longest is told so rather than left waiting.
bool Door::Inside::drop_one(int listener) {
    spare.reset();
    Fd refused(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    const bool accepted = refused.open();
    refused.reset();
    spare = Fd(::eventfd(0, EFD_CLOEXEC));
    if (accepted) crowded.add();
    return accepted;
}

void Door::Inside::admit(Fd fd, const Address& peer) {
    {
        std::lock_guard hold(lock);
        const bool full = unproven.size() + known.size() >= options.connections_max;
        if ((full || unproven.size() >= options.unproven_max) && !unproven.empty())
            cut(unproven.begin(), crowded);
        else if (full)
            return crowded.add();
        Fd mirror(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
        const std::uint64_t id = ++last_id;
        if (!mirror.open() || !watch(mirror.get(), id, 0)) return crowded.add();  // hang-ups are always told
        unproven.push_back({id, std::move(mirror), peer, system_clock().now()});
        by_id[id] = by_peer[peer] = std::prev(unproven.end());
        open.add(1);
    }
    enter(std::move(fd));
}

bool Door::Inside::watch(int fd, std::uint64_t id, std::uint32_t which) const {
    epoll_event event{};
    event.events = which;
    event.data.u64 = id;
    return ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Door::Inside::hang_up(std::uint64_t id) {
    std::lock_guard hold(lock);
    if (auto found = by_id.find(id); found != by_id.end()) forget(found->second);
}

void Door::Inside::forget(Place at) {
    by_id.erase(at->id);
    // A peer may come again from the same port before we hear that it had gone.
    if (auto peer = by_peer.find(at->peer); peer != by_peer.end() && peer->second == at) by_peer.erase(peer);
    (at->proven ? known : unproven).erase(at);
    open.add(-1);
}

void Door::Inside::cut(Place at, Counter& why) {
    ::shutdown(at->mirror.get(), SHUT_RDWR);  // gRPC sees its end and closes
    why.add();
    forget(at);
}

void Door::Inside::cut_late() {
    const Instant now = system_clock().now();
    std::lock_guard hold(lock);
    while (!unproven.empty() && now - unproven.front().since >= options.unproven_wait)
        cut(unproven.begin(), late);
}

Door::Door(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}

Result<std::unique_ptr<Door>> Door::open(DoorOptions options, Registry& metrics) {
    auto inside = std::make_unique<Inside>(std::move(options), metrics);
    TRY(inside->listeners, listen_on(inside->options.listen));
    inside->poll = Fd(::epoll_create1(EPOLL_CLOEXEC));
    inside->stop = Fd(::eventfd(0, EFD_CLOEXEC));
    inside->spare = Fd(::eventfd(0, EFD_CLOEXEC));
    if (!inside->poll.open() || !inside->stop.open() || !inside->spare.open())
        return refuse(Reason::io, std::string("cannot make a descriptor: ") + std::strerror(errno));
    return std::unique_ptr<Door>(new Door(std::move(inside)));
}

void Door::start(std::function<void(Fd)> enter) {
    inside_->enter = std::move(enter);
    (void)inside_->watch(inside_->stop.get(), Inside::of_stop, EPOLLIN);
    for (std::size_t i = 0; i < inside_->listeners.size(); ++i)
        (void)inside_->watch(inside_->listeners[i].get(), Inside::of_first_listener + i, EPOLLIN);
    inside_->thread = std::thread([inside = inside_.get()] { inside->run(); });
}

Door::~Door() { close(); }

void Door::close() {
    if (!inside_->thread.joinable()) return;
    const std::uint64_t one = 1;
    (void)!::write(inside_->stop.get(), &one, sizeof one);
    inside_->thread.join();
}

std::uint16_t Door::port() const { return port_of(inside_->listeners[0]); }

void Door::proven(std::string_view peer) {
    const std::optional<Address> address = parse_peer(peer);
    if (!address) return;
    std::lock_guard hold(inside_->lock);
    auto found = inside_->by_peer.find(*address);
    if (found == inside_->by_peer.end() || found->second->proven) return;
    found->second->proven = true;
    inside_->known.splice(inside_->known.end(), inside_->unproven, found->second);
}

}  // namespace culvert::xds
