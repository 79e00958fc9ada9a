// A cancelled operation of the ring returns, for each kind, with what it really did.
#include "test/unit/io/real.h"

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

Task<Result<std::size_t>> receive_size(Socket& from) {
    CO_TRY(Received got, co_await from.recv(1 << 20));
    co_return got.bytes().size();
}
Task<Result<std::size_t>> send_all(Socket& to, ConstBytes bytes) { co_return co_await to.send(bytes); }
Task<Result<Socket>> accept_one(Listener& listener) { co_return co_await listener.accept(); }
Task<Result<Done>> wait_readable(Loop& loop, int fd) { co_return co_await readable(loop, fd); }
Task<Result<Done>> wait_writable(Loop& loop, int fd) { co_return co_await writable(loop, fd); }
Task<Result<Socket>> dial(Loop& loop, Address to) {
    ConnectOptions options;
    auto connecting = connect(loop, own_namespace, to, options);
    co_return co_await connecting;
}

// Starts `task`, lets it park, cancels, and returns what it returned.
template <class T> T cancelled(Loop& loop, Task<T> task) {
    std::optional<T> out;
    Scope scope(loop);
    check(scope.start(keep(out, std::move(task))));
    for (int i = 0; i < 3; ++i) loop.turn_once();
    REQUIRE(scope.children() == 1);
    scope.cancel();
    loop.run_until_idle();
    REQUIRE(out);
    return *std::move(out);
}

Error asked() { return {Reason::cancelled, ECANCELED, {}}; }

// A socket that dials a listener whose queue is full: its SYN is dropped, its connect waits.
struct Full {
    explicit Full(Loop& loop) {
        auto opened = Listener::open(loop, own_namespace, loopback(), {.backlog = 0});
        REQUIRE(opened);
        listener = std::move(*opened);
        auto first = run(loop, dial(loop, *listener.local()));
        REQUIRE(first);
        queued = std::move(*first);
    }
    Listener listener;
    Socket queued;
};

}  // namespace

TEST_CASE("a cancelled receive says cancelled and took nothing", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    CHECK(cancelled(loop, receive_size(pair.server)).error() == asked());
    REQUIRE(pair.client.try_send(as_bytes("later")) == 5);
    CHECK(run(loop, receive_size(pair.server)) == 5);
}

TEST_CASE("a receive that had taken bytes before the cancel delivers them", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    std::optional<Result<std::size_t>> out;
    Scope scope(loop);
    check(scope.start(keep(out, receive_size(pair.server))));
    loop.turn_once();
    loop.turn_once();
    REQUIRE(pair.client.try_send(as_bytes("just in time")) == 12);
    scope.cancel();
    loop.run_until_idle();
    REQUIRE(out);
    if (!*out) CHECK(run(loop, receive_size(pair.server)) == 12);  // the cancel won: nothing is lost
    if (*out) CHECK(*out == 12);
}

TEST_CASE("a cancelled send returns how much went, and exactly that arrives", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    Buffer bytes(32 << 20, std::byte{5});
    auto sent = cancelled(loop, send_all(pair.client, bytes));
    REQUIRE(sent);
    CHECK(*sent > 0);
    CHECK(*sent < bytes.size());
    pair.client.shut_write();
    std::size_t arrived = 0;
    for (;;) {
        auto got = run(loop, receive_size(pair.server));
        REQUIRE(got);
        if (*got == 0) break;
        arrived += *got;
    }
    CHECK(arrived == *sent);
}

TEST_CASE("a cancelled accept leaves the next connection for the next accept", "[io]") {
    Loop loop(ring());
    auto listener = Listener::open(loop, own_namespace, loopback(), {});
    REQUIRE(listener);
    CHECK(cancelled(loop, accept_one(*listener)).error() == asked());
    auto client = run(loop, dial(loop, *listener->local()));
    REQUIRE(client);
    CHECK(run(loop, accept_one(*listener)));
}

TEST_CASE("a cancelled connect says cancelled", "[io]") {
    Loop loop(ring());
    Full full(loop);
    CHECK(cancelled(loop, dial(loop, *full.listener.local())).error() == asked());
}

TEST_CASE("a cancelled wait for a descriptor says cancelled", "[io]") {
    Loop loop(ring());
    Pair pair = connect_pair(loop);
    CHECK(cancelled(loop, wait_readable(loop, pair.client.handle())).error() == asked());
    Buffer bytes(1 << 20);
    while (pair.client.try_send(bytes).value_or(0) > 0) {
    }
    CHECK(cancelled(loop, wait_writable(loop, pair.client.handle())).error() == asked());
}

TEST_CASE("a receive that waits for a buffer is cancelled too", "[io]") {
    Loop loop(ring({.buffers = 1, .buffer_size = 4096}));
    Pair one = connect_pair(loop), two = connect_pair(loop);
    REQUIRE(one.client.try_send(as_bytes("first")) == 5);
    REQUIRE(two.client.try_send(as_bytes("second")) == 6);
    int held = -1;
    {
        Op op(Op::Kind::recv, one.server.handle());
        op.most = 100;
        std::vector<Op*> done;
        loop.driver().submit(op);
        while (done.empty()) loop.driver().turn({}, done);
        held = op.buffer;
    }
    REQUIRE(held == 0);
    CHECK(cancelled(loop, receive_size(two.server)).error() == asked());
    std::optional<Result<std::size_t>> later;
    Scope scope(loop);
    check(scope.start(keep(later, receive_size(two.server))));
    for (int i = 0; i < 5; ++i) loop.turn_once();
    CHECK_FALSE(later);
    loop.driver().give_back(held);
    loop.run_until_idle();
    CHECK(later == Result<std::size_t>(6));
}

TEST_CASE("a deadline ends a connect that nobody answers", "[io]") {
    Loop loop(ring());
    Full full(loop);
    auto dialling = dial(loop, *full.listener.local());
    auto late = run(loop, within(loop, 30ms, std::move(dialling)));
    REQUIRE_FALSE(late);
    CHECK(late.error().reason == Reason::timed_out);
}
