#include "ztunnel/tunnel.h"

#include "ztunnel/connections.h"
#include "ztunnel/link.h"

#include <algorithm>
#include <utility>

namespace culvert::ztunnel {

namespace {

#ifdef CULVERT_CANARY  // deliberately broken: test/sim/canary_test.cpp proves that the checkers see it
constexpr bool fin_waits_for_data = false;
#else
constexpr bool fin_waits_for_data = true;
#endif

}  // namespace

Tunnel::Tunnel(Connection& connection) : connection_(connection), changed_(connection.scope.loop()) {}

Tunnel::~Tunnel() {
    if (failure_ != Reason::none && app_.open()) app_.reset_on_close();
    if (link_) link_->detach(*this);
}

void Tunnel::attach(Link& link, h2::StreamId stream, bool asking) {
    link_ = &link;
    stream_ = stream;
    asking_ = asking;
}

io::Task<Result<Done>> Tunnel::answered() {
    while (status_ == 0 && failure_ == Reason::none) {
        auto woken = co_await changed_.wait();
        if (paused_) co_return refuse(Reason::cancelled);
        if (!woken) fail(connection_.cut_reason());
    }
    asking_ = false;
    if (failure_ != Reason::none) co_return refuse(retry_ ? Reason::h2_going_away : failure_);
    if (status_ != 200) co_return refuse(Reason::connect_rejected, status_);
    co_return Done{};
}

void Tunnel::leave() {
    if (link_) link_->detach(*this);
    link_ = nullptr;
    failure_ = Reason::none;
    status_ = 0;
    stream_gone_ = retry_ = false;
}

void Tunnel::start(io::Socket app) {
    connection_.settled();
    app_ = std::move(app);
    if (!connection_.scope.start(from_app())) fail(Reason::limit);
    write_rest();
    shut_app_if_ended();
}

void Tunnel::fail(Reason why) {
    if (over()) return;
    failure_ = why;
    if (link_ && !stream_gone_) link_->reset(stream_);
    stream_gone_ = true;
    if (asking_)
        wake();
    else
        connection_.scope.cancel();
}

// ---- app to peer ----

// Lives as long as the tunnel, so that somebody always waits whom a cancel of the scope reaches.
io::Task<void> Tunnel::from_app() {
    while (!over() && !paused_) {
        std::size_t most = may_read();
        if (most > 0) {
            auto received = co_await app_.recv(most);
            take_from_app(received);
        } else {
            connection_.watch(&app_);
            auto woken = co_await changed_.wait();
            connection_.watch(nullptr);
            if (paused_) break;
            if (!woken)
                fail(connection_.cut_reason());
            else
                pass_on();
        }
    }
}

// How much to ask the app for: nothing before there is credit and room for it. A waiting tunnel stands in the
// link's queue.
std::size_t Tunnel::may_read() {
    if (app_ended_ && end_sent_) return 0;
    std::size_t credit = link_->send_allowance(stream_);
    if (app_ended_ || !to_peer_.empty() || credit == 0 || !link_->room()) {
        link_->wait_for_room(*this);
        return 0;
    }
    std::size_t most = link_->crowded() ? Link::turn_bytes : app_.loop().driver().buffer_size();
    return std::min(credit, most);
}

void Tunnel::take_from_app(const Result<io::Received>& received) {
    if (!received) {
        if (paused_ && received.error().reason == Reason::cancelled) return;
        return fail(received.error().reason == Reason::cancelled ? connection_.cut_reason() : Reason::reset);
    }
    if (failure_ != Reason::none) return;
    if (received->end()) {
        app_ended_ = true;
        return pass_on();
    }
    ConstBytes bytes = received->bytes();
    connection_.count_sent(bytes.size());
    std::size_t taken = link_->send(stream_, bytes);
    if (taken == bytes.size()) return;
    append(to_peer_, bytes.subspan(taken));
    count_held();
}

// What waits in here for either side (S18).
void Tunnel::count_held() {
    if (!connection_.holds(to_app_.size() + to_peer_.size())) fail(Reason::limit);
}

// What waited for the windows, then the end.
void Tunnel::pass_on() {
    if (over() || end_sent_) return;
    if (!to_peer_.empty()) {
        std::size_t taken = link_->send(stream_, to_peer_);
        if (taken == to_peer_.size())
            OutBuffer().swap(to_peer_);
        else
            to_peer_.erase(to_peer_.begin(), to_peer_.begin() + static_cast<std::ptrdiff_t>(taken));
        count_held();
    }
    if (app_ended_ && to_peer_.empty()) {
        link_->send_end(stream_);
        end_sent_ = true;
    }
}

// ---- peer to app ----

void Tunnel::on_response(const h2::ConnectResponse& response) {
    status_ = static_cast<std::int16_t>(response.status);
    if (!response.opens()) stream_gone_ = true;
    wake();
}

// Straight from the receive buffer into the app's socket; only what that refuses is copied.
void Tunnel::on_bytes(std::span<const ConstBytes> pieces) {
    std::size_t size = 0;
    for (ConstBytes piece : pieces) size += piece.size();
    if (failure_ != Reason::none) return link_->consumed(stream_, size);
    connection_.count_received(size);
    std::size_t sent = 0;
    if (app_.open() && to_app_.empty()) {
        auto took = app_.try_send(pieces);
        if (!took) {
            link_->consumed(stream_, size);
            return fail(Reason::reset);
        }
        sent = *took;
        link_->consumed(stream_, sent);
    }
    if (sent == size) return;
    hold(pieces, sent);
    count_held();
    write_rest();
}

void Tunnel::hold(std::span<const ConstBytes> pieces, std::size_t skip) {
    for (ConstBytes piece : pieces) {
        std::size_t gone = std::min(skip, piece.size());
        skip -= gone;
        if (gone < piece.size()) to_app_.add(piece.subspan(gone), link_->shelf());
    }
}

void Tunnel::write_rest() {
    if (!app_.open() || to_app_.empty() || writing_ || paused_ || failure_ != Reason::none) return;
    writing_ = true;
    if (connection_.scope.start(into_app())) return;
    writing_ = false;
    fail(Reason::limit);
}

// Exists only while the app's socket is full.
io::Task<void> Tunnel::into_app() {
    while (failure_ == Reason::none && !paused_ && !to_app_.empty()) {
        ConstBytes next = to_app_.next();
        auto sent = co_await app_.send(next);
        if (!sent && paused_ && sent.error().reason == Reason::cancelled) break;
        if (!sent) {
            fail(sent.error().reason == Reason::cancelled ? connection_.cut_reason() : Reason::reset);
            break;
        }
        to_app_.sent(*sent, link_->shelf());
        count_held();
        link_->consumed(stream_, *sent);
    }
    writing_ = false;
    shut_app_if_ended();
}

void Tunnel::on_end() {
    peer_ended_ = true;
    shut_app_if_ended();
}

// The FIN travels behind the data, never ahead of it.
void Tunnel::shut_app_if_ended() {
    if (!peer_ended_ || app_shut_ || !app_.open() || failure_ != Reason::none) return;
    if (fin_waits_for_data && (!to_app_.empty() || writing_)) return;
    app_.shut_write();
    app_shut_ = true;
    wake();
}

void Tunnel::on_reset(Reason why) {
    stream_gone_ = true;
    fail(why);
}

// ---- hand-over ----

void Tunnel::pause() {
    paused_ = true;
    connection_.scope.cancel();
}

void Tunnel::save(Encoder& to) const {
    check(paused_ && connection_.scope.children() == 0);
    to.number(stream_);
    to.number(status_);
    to.number(failure_);
    for (bool flag : {app_ended_, end_sent_, peer_ended_, app_shut_, asking_, stream_gone_, retry_}) {
        to.number(static_cast<std::uint8_t>(flag));
    }
    to_app_.save(to);
    to.bytes(to_peer_);
}

Result<Done> Tunnel::load(Decoder& from, Link& link) {
    stream_ = from.number<h2::StreamId>();
    status_ = from.number<std::int16_t>();
    failure_ = from.number<Reason>();
    auto flag = [&from] { return from.number<std::uint8_t>() != 0; };
    app_ended_ = flag();
    end_sent_ = flag();
    peer_ended_ = flag();
    app_shut_ = flag();
    asking_ = flag();
    stream_gone_ = flag();
    retry_ = flag();
    to_app_ = Backlog::load(from);
    append(to_peer_, from.bytes());
    if (!from.ok() || failure_ >= Reason::last_) return refuse(Reason::bad_input);
    link_ = &link;
    link.adopt(stream_, *this);
    return Done{};
}

}  // namespace culvert::ztunnel
