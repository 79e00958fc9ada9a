// The simulator's driver: which operation goes on next, how far, and with what.
#include "lib/io/sim_socket.h"

#include <cerrno>

namespace culvert::io {
namespace {

std::uint64_t content_of(const Op& op) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    if (op.kind != Op::Kind::send) return hash;
    for (std::size_t i = 0; i < op.most; ++i)
        hash = (hash ^ std::to_integer<std::uint64_t>(op.data[i])) * 0x100000001b3;
    return hash;
}

int injected_error(Op::Kind kind) {
    switch (kind) {
    case Op::Kind::accept: return EMFILE;
    case Op::Kind::connect: return ECONNREFUSED;
    default: return ECONNRESET;
    }
}

}  // namespace

SimDriver::SimDriver(SimNetwork& network, SimNetwork::Who who)
    : network_(network), who_(who), random_(network.random_.next()), buffers_(network.options_.buffers) {
    for (unsigned i = 0; i < network.options_.buffers; ++i) free_.push_back(static_cast<int>(i));
}

SimDriver::~SimDriver() { check(pending_.empty() && out_ == 0); }

bool SimDriver::fails_now() {
    ++calls_;
    return fail_in_ != 0 && --fail_in_ == 0;
}

// Something, and not always everything.
std::size_t SimDriver::cut(std::size_t size) {
    if (size <= 1 || !network_.chance(network_.options_.cut_permille)) return size;
    return 1 + network_.random_.below(size);
}

void SimDriver::submit(Op& op) {
    check(!op.in_flight);
    op.in_flight = true;
    op.cancel_asked = false;
    op.result = 0;
    op.buffer = -1;
    pending_.push_back({&op, later(), content_of(op), fails_now()});
}

Instant SimDriver::later() {
    Instant now = network_.clock_.now();
    if (!network_.chance(network_.options_.delay_permille)) return now;
    return now + Duration(network_.random_.below(
                     static_cast<std::uint64_t>(network_.options_.delay_max.count()) + 1));
}

void SimDriver::cancel(Op& op) { op.cancel_asked = true; }

// Would the world let it go on?
bool SimDriver::able(const Op& op) const {
    SimSocket& socket = network_.socket(op.handle);
    switch (op.kind) {
    case Op::Kind::recv: return socket.unread() > 0 ? !free_.empty() : socket.fin_in || socket.reset;
    case Op::Kind::send: return socket.reset || socket.fin_out || op.most == 0 || network_.room(socket) > 0;
    case Op::Kind::accept: return !socket.queue.empty();
    case Op::Kind::connect: {
        SimNetwork::Route route = network_.route(socket, *op.address);
        return route.error != 0 || (route.listener && route.listener->queue.size() < route.listener->backlog);
    }
    default: return true;
    }
}

bool SimDriver::can_step(const Pending& pending) const {
    return pending.op->cancel_asked || pending.fails || able(*pending.op);
}

bool SimDriver::idle() const {
    return std::ranges::none_of(pending_, [this](const Pending& at) { return can_step(at); });
}

// When the first operation that could go on may.
std::optional<Instant> SimDriver::next_ready() const {
    std::optional<Instant> next;
    for (const Pending& at : pending_) {
        if (!can_step(at)) continue;
        Instant when = at.op->cancel_asked ? network_.clock_.now() : at.not_before;
        if (!next || when < *next) next = when;
    }
    return next;
}

void SimDriver::turn(std::optional<Instant> until, std::vector<Op*>& done) {
    check(out_ == 0);  // a receive buffer was kept across an await
    while (!step_some(done)) {
        std::optional<Instant> next = next_ready();
        if (until && (!next || *until < *next)) next = until;
        if (!next) return;  // nothing will ever happen
        network_.jump(*next);
        if (until && *until <= network_.clock_.now()) return;
    }
}

// A random part of what could go on, in random order. True if anything completed.
bool SimDriver::step_some(std::vector<Op*>& done) {
    std::vector<Op*> willing;
    for (const Pending& at : pending_) {
        if ((at.op->cancel_asked || at.not_before <= network_.clock_.now()) && can_step(at))
            willing.push_back(at.op);
    }
    if (willing.empty()) return false;
    std::size_t count = 1 + network_.random_.below(willing.size());
    for (std::size_t i = 0; i < count && done.size() < completions_max; ++i) {
        std::swap(willing[i], willing[i + network_.random_.below(willing.size() - i)]);
        auto at = std::ranges::find(pending_, willing[i], &Pending::op);
        if (!can_step(*at) || !step(*at)) continue;     // an earlier one took what it waited for
        check(content_of(*willing[i]) == at->content);  // changed while the kernel owned it
        pending_.erase(at);
        willing[i]->in_flight = false;
        done.push_back(willing[i]);
    }
    return true;
}

bool SimDriver::step(Pending& pending) {
    Op& op = *pending.op;
    if (pending.fails) return step_failing(op);
    // A cancel and the operation race: what could have gone on may still do so, as if nobody had asked.
    if (op.cancel_asked && (!able(op) || network_.chance(500))) {
        if (op.result == 0) op.result = -ECANCELED;
        return true;
    }
    SimSocket& socket = network_.socket(op.handle);
    if (network_.crosses(socket) && network_.chance(network_.options_.reset_permille))
        network_.fail_both(socket);
    switch (op.kind) {
    case Op::Kind::recv: return step_recv(op, socket);
    case Op::Kind::send: return step_send(pending, socket);
    case Op::Kind::accept: return step_accept(op, socket);
    case Op::Kind::connect: return step_connect(op, socket);
    default: op.result = -EOPNOTSUPP; return true;
    }
}

// An injected failure leaves the world as the real one would: a connection that failed is gone at both ends.
bool SimDriver::step_failing(Op& op) {
    if (op.kind == Op::Kind::recv || op.kind == Op::Kind::send)
        network_.fail_both(network_.socket(op.handle));
    op.result = -injected_error(op.kind);
    return true;
}

bool SimDriver::step_recv(Op& op, SimSocket& socket) {
    if (socket.unread() == 0) {
        op.result = socket.reset ? -ECONNRESET : 0;
        return true;
    }
    check(op.most > 0);
    std::size_t size = cut(std::min({op.most, socket.unread(), buffer_size()}));
    std::swap(free_[network_.random_.below(free_.size())], free_.back());
    op.buffer = static_cast<std::int16_t>(free_.back());
    free_.pop_back();
    ++out_;
    ConstBytes from = ConstBytes(socket.inbox).subspan(socket.read, size);
    buffers_[static_cast<std::size_t>(op.buffer)] = Buffer(from.begin(), from.end());
    socket.read += size;
    op.result = static_cast<int>(size);
    return true;
}

// Like MSG_WAITALL: goes on until all is sent, and an end in between says how far it came.
bool SimDriver::step_send(Pending& pending, SimSocket& socket) {
    Op& op = *pending.op;
    auto moved = static_cast<std::size_t>(op.result);
    if (socket.reset || socket.fin_out) {
        if (moved == 0) op.result = socket.reset ? -ECONNRESET : -EPIPE;
        return true;
    }
    std::size_t size = cut(std::min(op.most - moved, network_.room(socket)));
    network_.carry(socket, {op.data + moved, size});
    op.result = static_cast<int>(moved + size);
    pending.not_before = later();
    return moved + size == op.most || op.cancel_asked;
}

bool SimDriver::step_accept(Op& op, SimSocket& socket) {
    op.result = socket.queue.front();
    socket.queue.pop_front();
    return true;
}

bool SimDriver::step_connect(Op& op, SimSocket& socket) {
    SimNetwork::Route route = network_.route(socket, *op.address);
    Result<Address> source = network_.source_for(socket, *op.address);
    if (route.error != 0 || !source) {
        op.result = -(route.error != 0 ? route.error : source.error().detail);
        return true;
    }
    socket.local = *source;
    network_.establish(socket, route, *op.address);
    return true;
}

Bytes SimDriver::buffer(int id) { return buffers_[static_cast<std::size_t>(id)]; }

void SimDriver::give_back(int id) {
    check(std::ranges::find(free_, id) == free_.end());
    Buffer().swap(buffers_[static_cast<std::size_t>(id)]);
    free_.push_back(id);
    --out_;
}

Result<int> SimDriver::listen(Namespace where, Address at, const ListenOptions& options) {
    if (options.role != 0 && who_ != SimNetwork::Who::mesh) return refuse_os(ENOPROTOOPT);
    if (at.port == 0) at.port = static_cast<std::uint16_t>(1024 + network_.place(where).next_port++ % 28000);
    auto taken = [&](const SimSocket& other) {
        return other.local == at && !(options.reuse_port && other.reuse_port && other.who == who_);
    };
    if (fails_now() || network_.newest_listener(where, taken)) return refuse_os(EADDRINUSE);
    SimSocket& socket = network_.add_socket(where, who_);
    socket.listening = true;
    socket.local = at;
    socket.role = options.role;
    socket.reuse_port = options.reuse_port;
    socket.backlog = static_cast<std::size_t>(options.backlog);
    return socket.handle;
}

Result<int> SimDriver::stream(Namespace where, Address, const ConnectOptions& options) {
    if (fails_now()) return refuse_os(EMFILE);
    if (options.real_client && (who_ != SimNetwork::Who::mesh || network_.refuse_real_client_)) {
        return refuse(Reason::client_not_bound, ENOPROTOOPT);
    }
    SimSocket& socket = network_.add_socket(where, who_);
    socket.options = options;
    return socket.handle;
}

Result<std::size_t> SimDriver::try_send(int handle, std::span<const ConstBytes> pieces) {
    SimSocket& socket = network_.socket(handle);
    if (fails_now()) network_.fail_both(socket);
    if (socket.reset) return refuse_os(ECONNRESET);
    if (socket.fin_out || !socket.connected) return refuse_os(EPIPE);
    if (network_.chance(network_.options_.full_permille)) return 0;
    std::size_t total = 0;
    for (ConstBytes piece : pieces) total += piece.size();
    std::size_t left = cut(std::min(total, network_.room(socket)));
    std::size_t sent = left;
    for (ConstBytes piece : pieces) {
        ConstBytes part = piece.first(std::min(left, piece.size()));
        if (!part.empty()) network_.carry(socket, part);
        left -= part.size();
    }
    return sent;
}

void SimDriver::shut_write(int handle) {
    SimSocket& socket = network_.socket(handle);
    if (!socket.connected || socket.reset) return;
    socket.fin_out = true;
    if (SimSocket* other = network_.find(socket.other)) other->fin_in = true;
}

void SimDriver::reset_on_close(int handle) { network_.socket(handle).reset_on_close = true; }

void SimDriver::close(int handle) {
    auto ours = [handle](const Pending& at) { return at.op->handle == handle; };
    check(std::ranges::none_of(pending_, ours));  // closed under an operation
    network_.close_socket(handle);
}

Result<Address> SimDriver::local(int handle) { return network_.socket(handle).local; }

Result<Address> SimDriver::peer(int handle) {
    SimSocket& socket = network_.socket(handle);
    if (!socket.connected) return refuse_os(ENOTCONN);
    return socket.peer;
}

Result<Address> SimDriver::original_destination(int handle) {
    SimSocket& socket = network_.socket(handle);
    if (who_ != SimNetwork::Who::mesh || !socket.original)
        return refuse(Reason::no_original_destination, ENOENT);
    return *socket.original;
}

bool SimDriver::client_bound(int handle) { return network_.socket(handle).client_bound; }

bool SimDriver::broken(int handle) { return network_.socket(handle).reset; }

}  // namespace culvert::io
