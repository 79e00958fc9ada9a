// The control ports of every program (admin, metrics, readiness, status): HTTP/1.1 on a loop of its own, so
// that a slow scrape never delays a byte of traffic. Answers are made by coroutines on that loop (routes.h):
// what they show comes from snapshots, atomics and other loops that they ask; none may block.
//
// Bounds (docs/limits.md): connections_max connections a port, where one more ends the one that has been idle
// longest, so that nobody keeps a probe out by doing nothing; 2 s for a request head and its body
// (wire.md 8.2), 10 s to make its answer, 30 s for the next request on a kept connection; lib/h1's sizes. A
// caller beyond them is closed, nothing else is disturbed.
#pragma once
#include "lib/control/routes.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"

#include <memory>
#include <vector>

namespace culvert::control {

class Server {
public:
    static constexpr std::size_t connections_max = 64;

    // Lives on `loop`; `scope` owns its tasks: cancel and join it before the server goes.
    Server(io::Loop& loop, io::Scope& scope) : loop_(loop), scope_(scope) {}
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // May be called several times: one port for each audience. A busy port is an error that names it.
    // [::] listens on both families. Returns the port in use, for tests that ask for port 0.
    Result<std::uint16_t> listen(Address at, Routes routes);

private:
    struct Serving;
    // One port. Its address stays put: the tasks refer to it.
    struct Port {
        io::Listener listener;
        Routes routes;
        std::vector<Serving*> serving;  // the one that has been idle longest comes first
        bool make_room();
    };
    io::Task<Result<Done>> accept_all(Port& port);
    io::Task<Result<Done>> serve(Port& port, io::Socket socket);

    io::Loop& loop_;
    io::Scope& scope_;
    std::vector<std::unique_ptr<Port>> ports_;
};

}  // namespace culvert::control
