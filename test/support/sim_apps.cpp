#include "test/support/sim_apps.h"

#include <algorithm>

namespace culvert::test {

namespace {

constexpr std::string_view greeting = "220 ready THIS-IS-PAYLOAD\r\n";

io::Task<Result<Done>> say(io::Socket& to, ConstBytes bytes) {
    while (!bytes.empty()) {
        ConstBytes piece = bytes.first(std::min<std::size_t>(bytes.size(), 40'000));
        CO_TRY(std::size_t sent, co_await to.send(piece));
        bytes = bytes.subspan(sent);
    }
    co_return Done{};
}

io::Task<void> say_and_shut(io::Socket& to, ConstBytes bytes) {
    while (!bytes.empty()) {
        ConstBytes piece = bytes.first(std::min<std::size_t>(bytes.size(), 40'000));
        auto sent = co_await to.send(piece);
        if (!sent) co_return;
        bytes = bytes.subspan(*sent);
    }
    to.shut_write();
}

io::Task<Result<Done>> hear(io::Socket& from, Buffer& got) {
    for (;;) {
        CO_TRY(io::Received received, co_await from.recv(100'000));
        if (received.end()) break;
        append(got, received.bytes());
    }
    co_return Done{};
}

io::Task<Result<Done>> echo(io::Socket& socket) {
    for (;;) {
        Buffer piece;
        {
            CO_TRY(io::Received received, co_await socket.recv(30'000));
            if (received.end()) break;
            append(piece, received.bytes());
        }
        CO_TRY_DONE(co_await say(socket, piece));
    }
    co_return Done{};
}

io::Task<Result<Done>> late(io::Socket& socket) {
    Buffer got;
    CO_TRY_DONE(co_await hear(socket, got));
    Buffer said = answer(Temper::late, got);
    co_return co_await say(socket, said);
}

io::Task<Result<Done>> abortive(io::Socket& socket) {
    {
        CO_TRY_DONE(co_await socket.recv(100));
    }
    co_return refuse(Reason::reset);
}

io::Task<Result<Done>> silent(io::Socket& socket) {
    Buffer ignored;
    co_return co_await hear(socket, ignored);
}

io::Task<Result<Done>> greet_and_echo(io::Socket& socket) {
    ConstBytes text = as_bytes(greeting);
    CO_TRY_DONE(co_await say(socket, text));
    co_return co_await echo(socket);
}

io::Task<Result<Done>> converse(io::Socket& socket, Temper temper) {
    switch (temper) {
    case Temper::echo: return echo(socket);
    case Temper::late: return late(socket);
    case Temper::first: return greet_and_echo(socket);
    case Temper::silent: return silent(socket);
    case Temper::abortive: return abortive(socket);
    }
    return echo(socket);
}

io::Task<void> attend(io::Socket socket, Temper temper) {
    auto attending = converse(socket, temper);
    auto ended = co_await attending;
    if (ended)
        socket.shut_write();
    else
        socket.reset_on_close();
}

}  // namespace

Buffer payload(std::size_t number, std::size_t size) {
    Buffer bytes;
    bytes.reserve(size + marker.size());
    append(bytes, as_bytes(marker));
    while (bytes.size() < size)
        bytes.push_back(std::byte(number * 31 + bytes.size() * 7 + bytes.size() / 251));
    bytes.resize(size);
    return bytes;
}

Buffer answer(Temper temper, ConstBytes sent) {
    Buffer bytes;
    if (temper == Temper::first) append(bytes, as_bytes(greeting));
    if (temper == Temper::echo || temper == Temper::first) append(bytes, sent);
    if (temper == Temper::late) bytes.assign(sent.rbegin(), sent.rend());
    return bytes;
}

bool whole(Temper temper, const Visit& visit) {
    return visit.clean && visit.got == answer(temper, visit.sent);
}

bool prefix(Temper temper, const Visit& visit) {
    Buffer expected = answer(temper, visit.sent);
    return visit.got.size() <= expected.size() &&
           std::equal(visit.got.begin(), visit.got.end(), expected.begin());
}

io::Task<void> visit(io::Loop& loop, io::Namespace from, Address to, Visit& visit) {
    auto dialling = io::connect(loop, from, to, {});
    auto socket = co_await dialling;
    visit.connected = socket.has_value();
    if (socket) {
        io::Scope saying(loop);
        ConstBytes bytes = visit.sent;
        bool says = saying.start(say_and_shut(*socket, bytes));
        Result<Done> heard = refuse(Reason::limit);
        if (says) heard = co_await hear(*socket, visit.got);
        visit.clean = heard.has_value();
        if (!heard) saying.cancel();
        co_await saying.join();
    }
    visit.done = true;
}

io::Task<void> visit_quietly(io::Loop& loop, io::Namespace from, Address to, Duration quiet, Visit& visit) {
    auto dialling = io::connect(loop, from, to, {});
    auto socket = co_await dialling;
    visit.connected = socket.has_value();
    if (socket) {
        io::Scope waiting(loop);
        io::Deadline until(loop, waiting, quiet);
        auto hearing = hear(*socket, visit.got);
        auto heard = co_await waiting.run(std::move(hearing));
        if (until.expired()) {
            socket->shut_write();
            heard = co_await hear(*socket, visit.got);
            visit.clean = heard.has_value();
        }
    }
    visit.done = true;
}

io::Task<void> serve_deaf(io::Scope& scope, io::Namespace where, Address at, Server& server) {
    auto listener = io::Listener::open(scope.loop(), where, at, {});
    check(listener.has_value());
    std::vector<io::Socket> kept;
    for (;;) {
        auto socket = co_await listener->accept();
        if (!socket) break;
        ++server.accepted;
        kept.push_back(std::move(*socket));
    }
}

io::Task<void> serve(io::Scope& scope, io::Namespace where, Address at, Temper temper, Server& server) {
    auto listener = io::Listener::open(scope.loop(), where, at, {});
    check(listener.has_value());
    for (;;) {
        auto socket = co_await listener->accept();
        if (!socket && socket.error().reason == Reason::cancelled) break;
        if (!socket) continue;
        ++server.accepted;
        if (auto client = socket->peer()) server.clients.push_back(*client);
        (void)scope.start(attend(std::move(*socket), temper));
    }
}

}  // namespace culvert::test
