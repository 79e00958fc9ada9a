// The control ports of every program (admin, metrics, readiness, status): HTTP/1.1 on a loop of its own, so
// that a slow scrape never delays a byte of traffic. Answers are made by a plain function on that loop; what
// it shows it reads from snapshots and atomics.
//
// Bounds (docs/limits.md): connections_max connections a server; 2 s for a request head and its body
// (wire.md 8.2), 30 s for the next request on a kept connection; lib/h1's sizes. A caller beyond them is
// closed, nothing else is disturbed.
#pragma once
#include "lib/h1/message.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"

#include <functional>
#include <vector>

namespace culvert::control {

using Handler = std::function<h1::Response(const h1::Request&)>;

class Server {
public:
    static constexpr std::size_t connections_max = 64;

    // Lives on `loop`; `scope` owns its tasks: cancel and join it before the server goes.
    Server(io::Loop& loop, io::Scope& scope) : loop_(loop), scope_(scope) {}
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // May be called several times: one port for each audience. A busy port is an error that names it.
    // [::] listens on both families. Returns the port in use, for tests that ask for port 0.
    Result<std::uint16_t> listen(Address at, Handler handler);

private:
    // One port. Addresses of handlers stay put: the tasks refer to them.
    struct Port {
        io::Listener listener;
        Handler handler;
    };
    io::Task<Result<Done>> accept_all(Port& port);
    io::Task<Result<Done>> serve(Port& port, io::Socket socket);

    io::Loop& loop_;
    io::Scope& scope_;
    std::vector<std::unique_ptr<Port>> ports_;
    std::size_t connections_ = 0;
};

// "Method Not Allowed" with what is allowed, and "Not Found": the two answers that every router needs (A-2,
//
h1::Response method_not_allowed(std::string_view allowed);
h1::Response not_found();

}  // namespace culvert::control
