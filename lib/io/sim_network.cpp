// The simulated network: who listens where, which way a connect goes, what a pipe carries.
#include "bpf/abi.h"
#include "lib/io/sim_socket.h"

#include <cerrno>

namespace culvert::io {
namespace {

constexpr std::uint16_t hbone_port = 15008;
constexpr std::uint16_t reserved_port = 15001;  // a captured socket's own end (decision 1 has 64 of them)
constexpr std::uint32_t first_port = 32768;
constexpr std::uint32_t ports = 28000;

Ip loopback_of(Ip family) { return *Ip::parse(family.is_v4() ? "127.0.0.1" : "::1"); }

// :: takes both families, 0.0.0.0 its own.
bool listens_for(Address listener, Address to) {
    bool wildcard = listener.ip == Ip() || (listener.ip.is_unspecified() && to.ip.is_v4());
    return listener.port == to.port && (wildcard || listener.ip == to.ip);
}

bool holds(const std::vector<Ip>& addresses, Ip ip) {
    return std::ranges::find(addresses, ip) != addresses.end();
}

bool listed(const std::set<Address>& set, Address at) { return set.contains(at) || set.contains({at.ip, 0}); }

}  // namespace

WallTime SimNetwork::VirtualClock::wall() const {
    return WallTime(std::chrono::sys_days(std::chrono::year(2026) / 1 / 1)) + now_.since_start;
}

SimNetwork::SimNetwork(const SimOptions& options) : options_(options), random_(options.seed) {
    places_.push_back({"own", {}});
}

SimNetwork::~SimNetwork() { check(sockets_.empty()); }

Namespace SimNetwork::add(std::string name, std::vector<Ip> addresses) {
    places_.push_back({std::move(name), std::move(addresses)});
    return {static_cast<int>(places_.size()) - 2};
}

SimNetwork::Place& SimNetwork::place(Namespace where) {
    return places_.at(static_cast<std::size_t>(where.handle + 1));
}

void SimNetwork::enrol(Namespace pod) { place(pod).enrolled = true; }
void SimNetwork::release(Namespace pod) { place(pod).enrolled = false; }
void SimNetwork::approve(Namespace from, Address to) { approved_.insert({from.handle, to}); }
void SimNetwork::heal(Address at) {
    refused_.erase(at);
    holes_.erase(at);
}

SimSocket* SimNetwork::find(int handle) {
    auto at = sockets_.find(handle);
    return at == sockets_.end() ? nullptr : at->second.get();
}

SimSocket& SimNetwork::socket(int handle) {
    SimSocket* found = find(handle);
    check(found != nullptr);  // used after it was closed
    return *found;
}

SimSocket& SimNetwork::add_socket(Namespace where, Who who) {
    auto made = std::make_unique<SimSocket>();
    made->handle = next_handle_++;
    made->where = where;
    made->who = who;
    SimSocket& socket = *made;
    sockets_.emplace(socket.handle, std::move(made));
    return socket;
}

std::optional<Namespace> SimNetwork::owner_of(Ip ip) const {
    for (std::size_t i = 0; i < places_.size(); ++i) {
        if (holds(places_[i].addresses, ip)) return Namespace{static_cast<int>(i) - 1};
    }
    return {};
}

SimSocket* SimNetwork::newest_listener(Namespace where, const std::function<bool(const SimSocket&)>& fits) {
    for (auto at = sockets_.rbegin(); at != sockets_.rend(); ++at) {
        SimSocket& socket = *at->second;
        if (socket.listening && socket.where == where && fits(socket)) return &socket;
    }
    return nullptr;
}

// What enters an enrolled pod from outside reaches its node proxy or nobody.
SimNetwork::Route SimNetwork::steer(Namespace pod, const SimSocket& from, Address to) {
    std::uint32_t role = to.port == hbone_port ? CV_ROLE_HBONE : CV_ROLE_INBOUND;
    if (from.where == pod) role = CV_ROLE_OUTBOUND;
    Route route{newest_listener(pod, [role](const SimSocket& at) { return at.role == role; }), to, 0};
    if (!route.listener) route.error = ECONNREFUSED;
    return route;
}

SimNetwork::Route SimNetwork::route(const SimSocket& from, Address to) {
    bool inside = to.ip.is_loopback() || holds(place(from.where).addresses, to.ip);
    if (!inside && from.who == Who::app && place(from.where).enrolled) return steer(from.where, from, to);
    if (listed(holes_, to)) return {};
    if (listed(refused_, to)) return {nullptr, {}, ECONNREFUSED};
    std::optional<Namespace> target = inside ? from.where : owner_of(to.ip);
    if (!target) return {nullptr, {}, EHOSTUNREACH};
    bool approved = approved_.contains({from.where.handle, to});
    if (!inside && place(*target).enrolled && !approved) return steer(*target, from, to);
    auto fits = [to](const SimSocket& at) { return listens_for(at.local, to); };
    SimSocket* listener = newest_listener(*target, fits);
    return {listener, {}, listener ? 0 : ECONNREFUSED};
}

Result<Address> SimNetwork::source_for(const SimSocket& from, Address to) {
    Place& home = place(from.where);
    auto port = static_cast<std::uint16_t>(first_port + home.next_port++ % ports);
    auto same_family = [to](Ip ip) { return ip.is_v4() == to.ip.is_v4(); };
    if (from.options.from_loopback && to.ip.is_v4())
        return Address{Ip::v4(0x7f000001u + static_cast<std::uint32_t>(random_.below(0xfffffe))), port};
    if (from.options.bind) return Address{*from.options.bind, port};
    if (to.ip.is_loopback()) return Address{loopback_of(to.ip), port};
    auto own = std::ranges::find_if(home.addresses, same_family);
    if (own != home.addresses.end()) return Address{*own, port};
    // An enrolled pod without an address of the family is told no (decision 17), any other has no route.
    return refuse_os(home.enrolled && from.who == Who::app ? EPERM : ENETUNREACH);
}

void SimNetwork::establish(SimSocket& from, const Route& route, Address to) {
    SimSocket& end = add_socket(route.listener->where, route.listener->who);
    bool captured = route.original && from.where == end.where;
    end.connected = from.connected = true;
    end.other = from.handle;
    from.other = end.handle;
    end.local = captured ? Address{from.local.ip, reserved_port} : to;
    end.peer = from.local;
    from.peer = to;
    end.original = route.original;
    if (from.options.real_client && !lose_binding_) {
        end.peer = *from.options.real_client;
        from.client_bound = true;
    }
    route.listener->queue.push_back(end.handle);
}

std::size_t SimNetwork::room(const SimSocket& from) {
    SimSocket* to = find(from.other);
    if (!to) return options_.pipe_bytes;  // vanishes, and a reset comes back
    return options_.pipe_bytes - std::min(options_.pipe_bytes, to->unread());
}

bool SimNetwork::crosses(const SimSocket& end) {
    SimSocket* other = find(end.other);
    return other && other->where != end.where;
}

void SimNetwork::note_crossing(SimSocket& from, const SimSocket& to, ConstBytes bytes) {
    if (!recording_ || from.where == to.where) return;
    if (!from.flow) {
        from.flow = flows_.size();
        flows_.push_back({from.where, to.where, from.local, to.local, {}});
    }
    append(flows_[*from.flow].bytes, bytes);
}

void SimNetwork::carry(SimSocket& from, ConstBytes bytes) {
    SimSocket* to = find(from.other);
    if (!to) {
        fail_end(from);
        return;
    }
    note_crossing(from, *to, bytes);
    if (to->read == to->inbox.size()) {
        to->inbox.clear();
        to->read = 0;
    }
    append(to->inbox, bytes);
}

// What had arrived before a RST may or may not be read.
void SimNetwork::fail_end(SimSocket& end) {
    end.reset = true;
    if (!chance(500)) return;
    end.inbox.clear();
    end.read = 0;
}

void SimNetwork::fail_both(SimSocket& end) {
    if (SimSocket* other = find(end.other)) fail_end(*other);
    fail_end(end);
}

void SimNetwork::reset(int handle) { fail_both(socket(handle)); }

void SimNetwork::reset_between(Namespace a, Namespace b) {
    for (auto& [handle, socket] : sockets_) {
        SimSocket* other = find(socket->other);
        if (other && socket->where == a && other->where == b) fail_both(*socket);
    }
}

// Like the kernel's close: unread bytes or SO_LINGER 0 make it a RST; a listener takes its queue along.
void SimNetwork::close_socket(int handle) {
    SimSocket& gone = socket(handle);
    std::deque<int> queued = std::exchange(gone.queue, {});
    for (int end : queued) {
        socket(end).reset_on_close = true;
        close_socket(end);
    }
    if (SimSocket* other = find(gone.other)) {
        other->other = -1;
        other->fin_in = true;
        if (gone.reset_on_close || gone.unread() > 0) fail_end(*other);
    }
    sockets_.erase(handle);
}

bool SimNetwork::crossed(std::string_view marker) const {
    return std::ranges::any_of(flows_, [marker](const Flow& flow) {
        return as_text(flow.bytes).find(marker) != std::string_view::npos;
    });
}

std::unique_ptr<SimDriver> SimNetwork::driver(Who who) { return std::make_unique<SimDriver>(*this, who); }

SimNetwork::Rest SimNetwork::run(std::span<Loop* const> loops, Duration at_most,
                                 const std::function<bool()>& enough) {
    Instant end = clock_.now() + at_most;
    for (;;) {
        if (enough && enough()) return Rest::enough;
        if (step_loops(loops)) continue;
        std::optional<Instant> next = next_event(loops);
        if (!next) return Rest::idle;
        jump(std::min(*next, end));
        if (*next > end) return Rest::time_over;
    }
}

// One turn of one loop that has something to do, chosen by the seed.
bool SimNetwork::step_loops(std::span<Loop* const> loops) {
    std::vector<Loop*> willing;
    for (Loop* loop : loops) {
        auto& driver = static_cast<SimDriver&>(loop->driver());
        auto timer = loop->next_timer();
        auto ready = driver.next_ready();
        if (loop->ready() || (timer && *timer <= clock_.now()) || (ready && *ready <= clock_.now())) {
            willing.push_back(loop);
        }
    }
    if (willing.empty()) return false;
    willing[random_.below(willing.size())]->turn_once();
    return true;
}

std::optional<Instant> SimNetwork::next_event(std::span<Loop* const> loops) const {
    std::optional<Instant> next;
    auto consider = [&next](std::optional<Instant> at) {
        if (at && (!next || *at < *next)) next = at;
    };
    for (Loop* loop : loops) {
        consider(loop->next_timer());
        consider(static_cast<SimDriver&>(loop->driver()).next_ready());
    }
    return next;
}

}  // namespace culvert::io
