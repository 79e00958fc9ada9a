// The bare relay of the tunnel bench: our loop and buffers without TLS and HTTP/2. What it costs is the floor
// under the mesh.
//   bench_relay LISTEN_ADDRESS TARGET_ADDRESS        two of them in a row stand where two ztunnels would
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "lib/io/uring.h"

#include <cstdio>
#include <deque>

using namespace culvert;

namespace {

constexpr std::size_t receive_max = 256 << 10;

io::Task<Result<Done>> pump(io::Socket& from, io::Socket& to) {
    Buffer rest;
    for (;;) {
        {
            CO_TRY(io::Received got, co_await from.recv(receive_max));
            if (got.end()) break;
            CO_TRY(std::size_t sent, to.try_send(got.bytes()));
            append(rest, got.bytes().subspan(sent));
        }
        if (!rest.empty()) {
            CO_TRY_DONE(co_await to.send(rest));
            rest.clear();
        }
    }
    to.shut_write();
    co_return Done{};
}

io::Task<Result<Done>> relay(io::Loop& loop, io::Socket near, Address target) {
    io::ConnectOptions options;
    CO_TRY(io::Socket far, co_await io::connect(loop, io::own_namespace, target, options));
    io::Scope directions(loop);
    check(directions.start(pump(near, far)));
    check(directions.start(pump(far, near)));
    co_await directions.join();
    co_return Done{};
}

io::Task<Result<Done>> accept_all(io::Loop& loop, io::Scope& scope, io::Listener& listener, Address target) {
    for (;;) {
        CO_TRY(io::Socket near, co_await listener.accept());
        check(scope.start(relay(loop, std::move(near), target)));
    }
}

}  // namespace

int main(int count, char** words) {
    auto at = count == 3 ? Address::parse(words[1]) : std::nullopt;
    auto target = count == 3 ? Address::parse(words[2]) : std::nullopt;
    if (!at || !target) {
        std::fputs("usage: bench_relay LISTEN_ADDRESS TARGET_ADDRESS\n", stderr);
        return 2;
    }
    auto driver = io::make_uring();
    if (!driver) {
        std::fprintf(stderr, "%s\n", driver.error().to_string().c_str());
        return 1;
    }
    io::Loop loop(std::move(*driver));
    auto listener = io::Listener::open(loop, io::own_namespace, *at, {});
    if (!listener) {
        std::fprintf(stderr, "%s\n", listener.error().to_string().c_str());
        return 1;
    }
    io::Scope scope(loop);
    check(scope.start(accept_all(loop, scope, *listener, *target)));
    loop.run();
    return 0;
}
