#include "test/peers/wire.h"

#include "lib/base/check.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstdio>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

Fd tcp_socket() {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check(socket.get() >= 0);
    return socket;
}

}  // namespace

Listening listen_loopback() {
    Listening listening{tcp_socket()};
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    auto address = reinterpret_cast<sockaddr*>(&at);
    check(bind(listening.socket.get(), address, size) == 0);
    check(listen(listening.socket.get(), 64) == 0);
    check(getsockname(listening.socket.get(), address, &size) == 0);
    listening.port = ntohs(at.sin_port);
    return listening;
}

Fd accept_one(const Fd& listener) { return Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

Fd connect_loopback(std::uint16_t port) {
    Fd socket = tcp_socket();
    sockaddr_in at = loopback(port);
    check(connect(socket.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    return socket;
}

Wire::Wire(Fd socket) : socket_(std::move(socket)) {
    int on = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool Wire::wait(short events, int timeout_ms) {
    pollfd one{.fd = socket_.get(), .events = events, .revents = 0};
    return poll(&one, 1, timeout_ms) > 0;
}

bool Wire::send_some() {
    auto sent = ::send(socket_.get(), out_.data() + out_at_, unsent(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    out_at_ += static_cast<std::size_t>(sent);
    if (unsent() == 0) {
        out_.clear();
        out_at_ = 0;
    }
    return true;
}

bool Wire::send_all() {
    while (unsent() > 0)
        if (!wait(POLLOUT, 10'000) || !send_some()) return false;
    return true;
}

bool Wire::secure(tls::Handshake& handshake) {
    for (;;) {
        auto progress = handshake.advance(raw_);
        Buffer output = handshake.take_output();
        out_.insert(out_.end(), output.begin(), output.end());
        bool sent = send_all();
        if (!progress) {
            std::fprintf(stderr, "handshake: %s\n", handshake.why().c_str());
            return false;
        }
        raw_.erase(raw_.begin(), raw_.begin() + static_cast<std::ptrdiff_t>(progress->used));
        if (progress->done) break;
        if (!sent || !wait(POLLIN, 10'000)) return false;
        std::byte buffer[16384];
        auto got = recv(socket_.get(), buffer, sizeof buffer, 0);
        if (got <= 0) return false;
        append(raw_, ConstBytes(buffer, static_cast<std::size_t>(got)));
    }
    tls::Established established = handshake.take();
    sealer_.emplace(std::move(established.write));
    opener_.emplace(std::move(established.read));
    return true;
}

void Wire::queue(ConstBytes a, ConstBytes b) {
    if (!sealer_) {
        append(out_, a);
        append(out_, b);
        return;
    }
    while (a.size() + b.size() > 0) {  // control frames may be more than one record
        const std::array<ConstBytes, 2> pieces = {a.first(std::min(a.size(), tls::plaintext_max)),
                                                  a.size() < tls::plaintext_max ? b : ConstBytes{}};
        std::size_t size = pieces[0].size() + pieces[1].size();
        std::size_t at = out_.size();
        out_.resize(at + tls::Sealer::bound(size));
        out_.resize(at + sealer_->seal(pieces, Bytes(out_).subspan(at)));
        a = a.subspan(pieces[0].size());
        b = b.subspan(pieces[1].size());
    }
}

bool Wire::receive(Buffer& in) {
    std::byte buffer[65536];
    auto got = recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    append(opener_ ? raw_ : in, ConstBytes(buffer, static_cast<std::size_t>(got)));
    return open(in);
}

bool Wire::open(Buffer& in) {
    if (!opener_) return true;
    std::size_t used = 0;
    bool over = false;
    while (!over) {
        auto opened = opener_->open(Bytes(raw_).subspan(used));
        if (!opened || opened->kind == tls::Opened::Kind::closed) over = true;
        if (over || opened->kind == tls::Opened::Kind::need_more) break;
        if (opened->key_update_asked) sealer_->key_update_asked();
        append(in, opened->plaintext);
        used += opened->used;
    }
    raw_.erase(raw_.begin(), raw_.begin() + static_cast<std::ptrdiff_t>(used));
    return !over;
}

bool Wire::turn(Buffer& in, int timeout_ms) {
    if (!raw_.empty() && !open(in)) return false;  // behind the handshake
    if (!in.empty()) timeout_ms = 0;
    short events = POLLIN;
    if (unsent() > 0) events |= POLLOUT;
    pollfd one{.fd = socket_.get(), .events = events, .revents = 0};
    if (poll(&one, 1, timeout_ms) <= 0) return true;
    if ((one.revents & POLLOUT) && !send_some()) return false;
    return !(one.revents & (POLLIN | POLLHUP | POLLERR)) || receive(in);
}

void Wire::close_notify() {
    if (sealer_) {
        std::size_t at = out_.size();
        out_.resize(at + tls::Sealer::bound(2));
        out_.resize(at + sealer_->alert(tls::Alert::close_notify, Bytes(out_).subspan(at)));
    }
    send_all();
    shutdown(socket_.get(), SHUT_WR);
    // Closing with unread bytes would be a RST, which takes back what we said last.
    std::byte buffer[65536];
    while (wait(POLLIN, 5000) && recv(socket_.get(), buffer, sizeof buffer, 0) > 0) {
    }
}

}  // namespace culvert::test
