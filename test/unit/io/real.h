// A loop on a real ring and two connected sockets on loopback, for tests of the io_uring driver.
#pragma once
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "lib/io/uring.h"
#include "test/support/run.h"

#include <catch2/catch.hpp>

namespace culvert::test {

using namespace std::chrono_literals;

inline std::unique_ptr<io::Driver> ring(const io::UringOptions& options = {}) {
    auto driver = io::make_uring(options);
    if (!driver) FAIL(driver.error().to_string());
    return *std::move(driver);
}

inline Address loopback(std::uint16_t port = 0) { return {Ip::v4(0x7f000001), port}; }

struct Pair {
    io::Socket client;
    io::Socket server;
};

inline io::Task<Result<Pair>> connected(io::Loop& loop) {
    Address any = loopback();
    io::ListenOptions options;
    CO_TRY(io::Listener listener, io::Listener::open(loop, io::own_namespace, any, options));
    CO_TRY(Address at, listener.local());
    auto dial = io::connect(loop, io::own_namespace, at, {});
    CO_TRY(io::Socket client, co_await dial);
    CO_TRY(io::Socket server, co_await listener.accept());
    co_return Pair{std::move(client), std::move(server)};
}

inline Pair connect_pair(io::Loop& loop) {
    auto pair = run(loop, connected(loop));
    if (!pair) FAIL(pair.error().to_string());
    return *std::move(pair);
}

}  // namespace culvert::test
