// Whether a compiler may build Culvert (docs/style.md 3.2 and 3.5): the constructs that one of the two
// candidates got wrong, and the await form, completed and destroyed while parked at every step. A compiler is
// accepted when these pass. The coroutine type here is the smallest possible: lib/io forbids some of what is
// probed.
//
// tidy: this file is where the await form is broken on purpose
#include <catch2/catch.hpp>

#include "lib/base/result.h"

#include <array>
#include <coroutine>
#include <deque>
#include <memory>
#include <source_location>
#include <string>

using namespace culvert;

namespace {

// What is alive: every constructor must meet its destructor.
struct Witness {
    static inline int alive = 0;
    explicit Witness(int number) : value(number) { ++alive; }
    Witness(const Witness& other) : value(other.value) { ++alive; }
    Witness(Witness&& other) noexcept : value(other.value) { ++alive; }
    Witness& operator=(const Witness&) = default;
    ~Witness() { --alive; }
    int value;
};

struct Pair {
    Witness first, second;
};

std::deque<std::coroutine_handle<>> ready;

// Awaiting it parks; `after` gates in a row were passed already.
struct Gate {
    static inline int passed = 0;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> who) const { ready.push_back(who); }
    int await_resume() const { return ++passed; }
};

template <class T> class Probe {
public:
    struct promise_type {
        Probe get_return_object() { return Probe(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        struct End {
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
                if (self.promise().next) ready.push_back(self.promise().next);
            }
            void await_resume() const noexcept {}
        };
        End final_suspend() noexcept { return {}; }
        void unhandled_exception() noexcept { std::abort(); }
        template <class U> void return_value(U&& value) {
            result = std::make_unique<T>(std::forward<U>(value));
        }
        std::unique_ptr<T> result;
        std::coroutine_handle<> next;
    };
    explicit Probe(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    Probe(Probe&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    ~Probe() {
        if (handle_) handle_.destroy();
    }
    bool await_ready() const { return false; }
    bool await_suspend(std::coroutine_handle<> parent) {
        handle_.resume();
        if (handle_.done()) return false;
        handle_.promise().next = parent;
        return true;
    }
    T await_resume() { return std::move(*handle_.promise().result); }

    void start() { handle_.resume(); }
    bool done() const { return handle_.done(); }
    T value() { return await_resume(); }

private:
    std::coroutine_handle<promise_type> handle_;
};

Probe<int> now(int value) { co_return value; }
Probe<int> later(int value) {
    co_await Gate();
    co_return value;
}
Probe<Result<Witness>> made(Witness from) {
    co_await Gate();
    co_return Witness(from.value + 1);
}
Probe<Result<Witness>> refused(Witness from) {
    co_await Gate();
    co_return refuse(Reason::limit, from.value);
}
Probe<int> sum_of(Pair pair) {
    co_await Gate();
    co_return pair.first.value + pair.second.value;
}
template <class F> Probe<int> call(F function) {
    co_await Gate();
    co_return function();
}

// --- the await form: nine functions that use every kind of it
Probe<int> form_declaration(Witness held) {
    Pair pair{Witness(1), Witness(2)};
    int sum = co_await sum_of(pair);
    co_return sum + held.value;
}
Probe<int> form_assignment(Witness held) {
    int total = 0;
    total = co_await later(held.value);
    total += 1;
    co_return total;
}
Probe<int> form_alone(Witness held) {
    co_await later(held.value);
    co_return held.value;
}
Probe<int> form_return(Witness held) { co_return co_await later(held.value); }
Probe<Result<int>> form_try(Witness held) {
    CO_TRY(Witness one, co_await made(held));
    CO_TRY(Witness two, co_await made(std::move(one)));
    co_return two.value;
}
Probe<Result<int>> form_try_leaves(Witness held) {
    CO_TRY(Witness one, co_await made(held));
    CO_TRY(Witness never, co_await refused(std::move(one)));
    co_return never.value;
}
Probe<int> form_named_child(Witness held) {
    auto child = later(held.value);
    int value = co_await child;
    co_return value;
}
Probe<int> form_loop(Witness held) {
    int total = 0;
    for (int i = 0; i < 3; ++i) {
        Witness inner(i);
        int value = co_await later(held.value);
        total += value + inner.value;
    }
    co_return total;
}
Probe<Result<int>> form_nested(Witness held) {
    CO_TRY(int one, co_await form_try(held));
    int two = co_await form_loop(held);
    co_return one + two;
}

// Runs to its end, or `steps` resumptions far and is destroyed there. The number of steps it took.
template <class Make> int drive(Make make, int steps) {
    ready.clear();
    int taken = 0;
    {
        auto probe = make(Witness(5));
        probe.start();
        while (!probe.done() && taken < steps) {
            auto next = ready.front();
            ready.pop_front();
            next.resume();
            ++taken;
        }
    }
    ready.clear();
    return taken;
}

template <class Make> void balances(Make make) {
    constexpr int far = 1000;
    int steps = drive(make, far);
    CHECK(Witness::alive == 0);
    for (int stop = 0; stop < steps; ++stop) {
        CHECK(drive(make, stop) == stop);
        CHECK(Witness::alive == 0);
    }
    CHECK(steps > 0);
}

// --- what one of the compilers got wrong
Probe<int> two_million_ready() {
    int total = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        int one = co_await now(1);
        total += one;
    }
    co_return total;
}
Probe<int> a_million_parked() {
    int total = 0;
    for (int i = 0; i < 1'000'000; ++i) {
        int one = co_await later(1);
        total += one;
    }
    co_return total;
}
Probe<int> aggregate_argument(Witness held) {
    int sum = co_await sum_of(Pair{Witness(1), Witness(held.value)});
    co_return sum;
}
Probe<int> lambda_argument(Witness held) {
    int sum = co_await call([copy = Witness(held.value)] { return copy.value; });
    co_return sum;
}
Probe<int> no_local_around_a_condition(int which) {
    if (co_await later(which)) co_return 1;
    co_return 2;
}
Probe<int> switch_on_an_await(int which) {
    switch (co_await later(which)) {
    case 0: co_return 10;
    case 1: co_return 11;
    default: co_return 12;
    }
}
Probe<int> behind_a_reference(Witness held) {
    std::array<Probe<int>, 2> children{later(held.value), later(2)};
    int one = co_await children[0];
    int two = co_await children[1];
    co_return one + two;
}
Probe<int> in_an_expression_statement(Witness held) {
    int value = ({ co_await later(held.value) + 1; });
    co_return value;
}

template <class T> T finish(Probe<T> probe) {
    ready.clear();
    probe.start();
    while (!probe.done()) {
        auto next = ready.front();
        ready.pop_front();
        next.resume();
    }
    return probe.value();
}

}  // namespace

TEST_CASE("the await form balances every constructor, completed and destroyed while parked at every step",
          "[io]") {
    balances(form_declaration);
    balances(form_assignment);
    balances(form_alone);
    balances(form_return);
    balances(form_try);
    balances(form_try_leaves);
    balances(form_named_child);
    balances(form_loop);
    balances(form_nested);
}

TEST_CASE("the await form yields the right values", "[io]") {
    CHECK(finish(form_declaration(Witness(5))) == 8);
    CHECK(finish(form_assignment(Witness(5))) == 6);
    CHECK(finish(form_alone(Witness(5))) == 5);
    CHECK(finish(form_return(Witness(5))) == 5);
    CHECK(finish(form_try(Witness(5))) == 7);
    CHECK(finish(form_try_leaves(Witness(5))).error() == Error{Reason::limit, 6, {}});
    CHECK(finish(form_named_child(Witness(5))) == 5);
    CHECK(finish(form_loop(Witness(5))) == 18);
    CHECK(finish(form_nested(Witness(5))) == 25);
    CHECK(Witness::alive == 0);
}

TEST_CASE("millions of awaits, ready and parked, need no more stack than one", "[io]") {
    CHECK(finish(two_million_ready()) == 2'000'000);
    CHECK(finish(a_million_parked()) == 1'000'000);
}

TEST_CASE("temporaries inside an await are destroyed once", "[io]") {
    CHECK(finish(aggregate_argument(Witness(5))) == 6);
    CHECK(finish(lambda_argument(Witness(5))) == 5);
    balances(aggregate_argument);
    balances(lambda_argument);
    CHECK(Witness::alive == 0);
}

TEST_CASE("awaits in conditions, behind references and in statement expressions work", "[io]") {
    CHECK(finish(no_local_around_a_condition(1)) == 1);
    CHECK(finish(no_local_around_a_condition(0)) == 2);
    CHECK(finish(switch_on_an_await(0)) == 10);
    CHECK(finish(switch_on_an_await(1)) == 11);
    CHECK(finish(switch_on_an_await(7)) == 12);
    CHECK(finish(behind_a_reference(Witness(5))) == 7);
    CHECK(finish(in_an_expression_statement(Witness(5))) == 6);
    balances(behind_a_reference);
}
