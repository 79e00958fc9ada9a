// The io_uring driver over loopback: what each operation returns, also when it is cancelled, cut or refused.
#include "test/unit/io/real.h"

#include <numeric>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

Buffer pattern(std::size_t size) {
    Buffer out(size);
    for (std::size_t i = 0; i < size; ++i) out[i] = std::byte(i * 7 + i / 251);
    return out;
}

Task<Result<Buffer>> read_all(Socket& from, std::size_t most) {
    Buffer out;
    for (;;) {
        CO_TRY(Received got, co_await from.recv(most));
        if (got.end()) co_return std::move(out);
        append(out, got.bytes());
    }
}

Task<Result<Done>> write_all(Socket& to, ConstBytes bytes) {
    CO_TRY(std::size_t sent, co_await to.send(bytes));
    if (sent != bytes.size()) co_return refuse(Reason::truncated);
    to.shut_write();
    co_return Done{};
}

Task<Result<Done>> echo(Socket& socket) {
    for (;;) {
        Buffer copy;
        {
            CO_TRY(Received got, co_await socket.recv(1 << 20));
            if (got.end()) break;
            append(copy, got.bytes());
        }
        ConstBytes bytes = copy;
        CO_TRY([[maybe_unused]] std::size_t sent, co_await socket.send(bytes));
    }
    socket.shut_write();
    co_return Done{};
}

Task<Result<Buffer>> there_and_back(Loop& loop, Pair& pair, ConstBytes bytes) {
    Scope scope(loop);
    scope.start(echo(pair.server));
    scope.start(write_all(pair.client, bytes));
    auto reading = read_all(pair.client, 100'000);
    Result<Buffer> got = co_await reading;
    co_await scope.join();
    co_return std::move(got);
}

}  // namespace

TEST_CASE("a ring echoes four megabytes, in order, and both half-closes arrive", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    Buffer bytes = pattern(4 << 20);
    auto got = run(loop, there_and_back(loop, pair, bytes));
    REQUIRE(got);
    CHECK(*got == bytes);
}
