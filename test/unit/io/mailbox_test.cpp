// Two real loops on two threads: mail both ways, sockets handed over, a snapshot swapped while both read it.
// Also built by the tsan preset, which is what it is for (label tsan).
#include "test/unit/io/real.h"

#include <atomic>
#include <thread>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

// A loop on a thread of its own, and the scope of what runs there.
class Worker {
public:
    Worker() : loop_(ring()), scope_(loop_), thread_([this] { work(); }) {}
    // Ends what runs there, then the loop.
    ~Worker() {
        loop_.post_message([this] {
            scope_.cancel();
            loop_.stop();
        });
        thread_.join();
    }
    Loop& loop() { return loop_; }
    Scope& scope() { return scope_; }

private:
    void work() {
        loop_.run();
        loop_.run_until_idle();
    }
    Loop loop_;
    Scope scope_;
    std::thread thread_;
};

// What everyone reads: all its fields belong together.
struct Snapshot {
    std::uint64_t version = 0;
    std::uint64_t twice = 0;
};

struct Reader {
    std::shared_ptr<const Snapshot> snapshot = std::make_shared<Snapshot>();
    std::uint64_t last = 0;
    std::atomic<std::uint64_t> seen{0};
    std::atomic<bool> wrong{false};
};

Task<void> reads(Loop& loop, Reader& reader) {
    for (;;) {
        std::shared_ptr<const Snapshot> mine = reader.snapshot;
        Result<Done> slept = co_await sleep(loop, 10us);
        if (mine->twice != 2 * mine->version || mine->version < reader.last) reader.wrong = true;
        reader.last = mine->version;
        reader.seen.store(mine->version);
        if (!slept) co_return;
    }
}

struct Ball {
    Loop* loops[2];
    int left;
    std::atomic<bool> done{false};
};

void hit(Ball& ball, int side) {
    if (ball.left-- == 0) {
        ball.done = true;
        ball.done.notify_all();
        return;
    }
    ball.loops[1 - side]->post_message([&ball, side] { hit(ball, 1 - side); });
}

Task<void> echo_once(Socket socket, std::atomic<int>& echoed) {
    Buffer copy;
    {
        Result<Received> got = co_await socket.recv(100);
        if (!got) co_return;
        append(copy, got->bytes());
    }
    ConstBytes bytes = copy;
    Result<std::size_t> sent = co_await socket.send(bytes);
    if (sent) ++echoed;
}

// Accepts here, serves there: an accepted socket moves before its coroutine is born (decision 3).
Task<void> accept_for(Listener listener, Worker& other, std::atomic<int>& echoed) {
    for (;;) {
        Result<Socket> accepted = co_await listener.accept();
        if (!accepted) co_return;
        auto serve = [socket = std::move(*accepted), &other, &echoed]() mutable {
            socket.move_to(other.loop());
            check(other.scope().start(echo_once(std::move(socket), echoed)));
        };
        other.loop().post_message(std::move(serve));
    }
}

Task<Result<std::string>> ask(Loop& loop, Address at) {
    ConnectOptions options;
    auto dialling = connect(loop, own_namespace, at, options);
    CO_TRY(Socket socket, co_await dialling);
    CO_TRY_DONE(socket.try_send(as_bytes("hello")));
    CO_TRY(Received got, co_await socket.recv(100));
    co_return std::string(as_text(got.bytes()));
}

}  // namespace

TEST_CASE("mail goes to and fro between two loops twenty thousand times", "[io][tsan]") {
    Worker one, two;
    Ball ball{{&one.loop(), &two.loop()}, 20'000};
    one.loop().post_message([&ball] { hit(ball, 0); });
    ball.done.wait(false);
    CHECK(ball.left == -1);
}

TEST_CASE("mail from many threads arrives, each thread's in its order", "[io][tsan]") {
    constexpr std::size_t senders = 4, each = 5000;
    std::array<std::size_t, senders> next{};
    std::atomic<std::size_t> arrived{0};
    std::atomic<bool> wrong{false};
    {
        Worker worker;
        std::vector<std::thread> threads;
        for (std::size_t who = 0; who < senders; ++who) {
            threads.emplace_back([&, who] {
                for (std::size_t i = 0; i < each; ++i) {
                    worker.loop().post_message([&, who, i] {
                        if (next[who]++ != i) wrong = true;
                        if (++arrived == senders * each) arrived.notify_all();
                    });
                }
            });
        }
        for (auto& thread : threads) thread.join();
        for (std::size_t now = arrived; now < senders * each; now = arrived) arrived.wait(now);
    }
    CHECK_FALSE(wrong);
}

TEST_CASE("a snapshot swapped by one writer is seen whole by both loops, and never an older one",
          "[io][tsan]") {
    Reader readers[2];
    {
        Worker workers[2];
        for (std::size_t i = 0; i < 2; ++i) {
            workers[i].loop().post_message(
                [&, i] { check(workers[i].scope().start(reads(workers[i].loop(), readers[i]))); });
        }
        constexpr std::uint64_t versions = 2000;
        for (std::uint64_t version = 1; version <= versions; ++version) {
            auto next = std::make_shared<const Snapshot>(Snapshot{version, 2 * version});
            for (std::size_t i = 0; i < 2; ++i)
                workers[i].loop().post_message([&, i, next] { readers[i].snapshot = next; });
        }
        for (Reader& reader : readers)
            while (reader.seen < versions) std::this_thread::yield();
    }
    for (Reader& reader : readers) CHECK_FALSE(reader.wrong);
}

TEST_CASE("a socket accepted by one loop is served by another", "[io][tsan]") {
    std::atomic<int> echoed{0};
    Loop loop(ring());
    {
        Worker serving, accepting;
        auto listener = Listener::open(accepting.loop(), own_namespace, loopback(), {});
        REQUIRE(listener);
        Address at = *listener->local();
        auto accept_here = [&, own = std::move(*listener)]() mutable {
            check(accepting.scope().start(accept_for(std::move(own), serving, echoed)));
        };
        accepting.loop().post_message(std::move(accept_here));
        for (int i = 0; i < 50; ++i) CHECK(run(loop, ask(loop, at)) == "hello");
    }
    CHECK(echoed == 50);
}
