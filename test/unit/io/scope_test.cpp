// Scopes, events, sleeps and deadlines: a cancel reaches every wait, nothing ends before its children have.
#include "test/unit/io/calm.h"

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

Task<Result<Done>> sleeps(Loop& loop, Duration duration) {
    CO_TRY_DONE(co_await sleep(loop, duration));
    co_return Done{};
}

Task<void> says(Loop& loop, Duration duration, std::optional<Result<Done>>& said) {
    auto nested = sleeps(loop, duration);
    said = co_await nested;
}

Task<void> waits(Event& event, std::optional<Result<Done>>& said) { said = co_await event.wait(); }

// Which of five waits a cancel found it in.
Task<void> five_waits(Loop& loop, Event& event, std::vector<Reason>& reasons) {
    for (int i = 0; i < 2; ++i) {
        Result<Done> slept = co_await sleep(loop, 1s);
        reasons.push_back(slept ? Reason::none : slept.error().reason);
        Result<Done> woken = co_await event.wait();
        reasons.push_back(woken ? Reason::none : woken.error().reason);
    }
    Result<Done> nested = co_await sleeps(loop, 1s);
    reasons.push_back(nested ? Reason::none : nested.error().reason);
}

Task<void> sets_each_second(Loop& loop, Event& event, int times) {
    for (int i = 0; i < times; ++i) {
        co_await sleep(loop, 1s);
        event.set();
    }
}

Task<void> cancels_after(Loop& loop, Scope& scope, Duration after) {
    co_await sleep(loop, after);
    scope.cancel();
}

Task<void> stubborn(Loop& loop, bool& ended) {
    Scope inner(loop);
    std::optional<Result<Done>> said;
    check(inner.start(says(loop, 1h, said)));
    co_await inner.join();
    ended = said.has_value() && !*said && said->error().reason == Reason::cancelled;
}

Task<void> slow_to_end(Loop& loop, Scope& shield, bool& ended) {
    co_await sleep(loop, 1h);
    std::optional<Result<Done>> said;
    check(shield.start(says(loop, 2s, said)));
    co_await shield.join();
    ended = true;
}

Task<void> joins(Scope& scope, bool& joined) {
    co_await scope.join();
    joined = true;
}

Task<Result<int>> value_after(Loop& loop, Duration duration, int value) {
    CO_TRY_DONE(co_await sleep(loop, duration));
    co_return value;
}

Task<Result<int>> runs_inside(Loop& loop, Scope& scope, Duration duration) {
    auto child = value_after(loop, duration, 9);
    CO_TRY(int value, co_await scope.run(std::move(child)));
    co_return value;
}

Task<Result<int>> at_most(Loop& loop, Duration bound, Duration duration) {
    auto child = value_after(loop, duration, 3);
    auto bounded = within(loop, bound, std::move(child));
    co_return co_await bounded;
}

Task<Result<Done>> under_deadline(Loop& loop, Scope& scope, bool& expired) {
    Deadline deadline(loop, scope, 5s);
    Result<Done> slept = co_await sleep(loop, 1h);
    expired = deadline.expired();
    co_return slept;
}

Task<void> keep_result(Task<Result<Done>> task, std::optional<Result<Done>>& out) { out = co_await task; }

}  // namespace

TEST_CASE("a sleep takes its time on the driver's clock", "[io]") {
    Calm calm;
    CHECK(run(calm.loop, sleeps(calm.loop, 90min)));
    CHECK(calm.elapsed() == 90min);
}

TEST_CASE("a cancel reaches a nested wait at once, and later waits return at once", "[io]") {
    for (int second = 0; second <= 5; ++second) {
        INFO("cancelled after " << second << " s");
        Calm calm;
        Event event(calm.loop);
        Scope scope(calm.loop), others(calm.loop);
        std::vector<Reason> reasons;
        check(scope.start(five_waits(calm.loop, event, reasons)));
        check(others.start(sets_each_second(calm.loop, event, second)));
        check(others.start(cancels_after(calm.loop, scope, std::chrono::seconds(second) + 500ms)));
        REQUIRE(calm.loop.run_until_idle());
        REQUIRE(reasons.size() == 5);
        for (std::size_t i = 0; i < 5; ++i) {
            // Sleeping and being set take turns, a second each; the third and fifth waits are sleeps of a
            // second, too.
            CHECK((reasons[i] == Reason::cancelled || reasons[i] == Reason::none));
            if (i > 0 && reasons[i - 1] == Reason::cancelled) CHECK(reasons[i] == Reason::cancelled);
        }
        CHECK((reasons[0] == Reason::cancelled) == (second == 0));
        if (second < 4) CHECK(calm.elapsed() <= std::chrono::seconds(second) + 500ms);
        CHECK(scope.children() == 0);
    }
}

TEST_CASE("a task started in a cancelled scope runs and is told at its first wait", "[io]") {
    Calm calm;
    Scope scope(calm.loop);
    scope.cancel();
    scope.cancel();
    std::optional<Result<Done>> said;
    CHECK(scope.start(says(calm.loop, 1h, said)));
    calm.loop.run_until_idle();
    REQUIRE(said);
    CHECK(said->error().reason == Reason::cancelled);
    CHECK(calm.elapsed() == 0s);
}

TEST_CASE("an event set before its wait is not lost, and twice is once", "[io]") {
    Calm calm;
    Event event(calm.loop);
    event.set();
    event.set();
    std::optional<Result<Done>> first, second;
    Scope scope(calm.loop);
    check(scope.start(waits(event, first)));
    calm.loop.run_until_idle();
    CHECK(first == Result<Done>(Done{}));
    CHECK_FALSE(event.waited_for());
    check(scope.start(waits(event, second)));
    calm.loop.run_until_idle();
    CHECK_FALSE(second);
    CHECK(event.waited_for());
    event.set();
    calm.loop.run_until_idle();
    CHECK(second == Result<Done>(Done{}));
}

TEST_CASE("an event that was set and then cancelled in the same turn was set", "[io]") {
    Calm calm;
    Event event(calm.loop);
    std::optional<Result<Done>> said;
    Scope scope(calm.loop);
    check(scope.start(waits(event, said)));
    calm.loop.turn_once();
    event.set();
    scope.cancel();
    calm.loop.run_until_idle();
    CHECK(said == Result<Done>(Done{}));
}

TEST_CASE("a cancel goes through a join into the scopes inside, and waits for their children", "[io]") {
    Calm calm;
    Scope scope(calm.loop);
    bool ended = false;
    check(scope.start(stubborn(calm.loop, ended)));
    calm.loop.turn_once();
    calm.loop.turn_once();
    scope.cancel();
    CHECK(scope.children() == 1);
    calm.loop.run_until_idle();
    CHECK(ended);
    CHECK(calm.elapsed() == 0s);
}

TEST_CASE("a join in a scope that is cancelled already cancels what it waits for", "[io]") {
    Calm calm;
    Scope scope(calm.loop), inner(calm.loop);
    bool ended = false;
    check(scope.start(slow_to_end(calm.loop, inner, ended)));
    calm.loop.turn_once();
    scope.cancel();
    calm.loop.run_until_idle();
    CHECK(ended);
    CHECK(inner.cancelled());
    CHECK(calm.elapsed() == 0s);
}

TEST_CASE("a join returns when the last child has returned, not before", "[io]") {
    Calm calm;
    Scope scope(calm.loop), outer(calm.loop);
    std::optional<Result<Done>> one, two;
    bool joined = false;
    check(scope.start(says(calm.loop, 1s, one)));
    check(scope.start(says(calm.loop, 3s, two)));
    check(outer.start(joins(scope, joined)));
    calm.network.run(std::array{&calm.loop}, 2s);
    CHECK(one);
    CHECK_FALSE(joined);
    calm.loop.run_until_idle();
    CHECK(two);
    CHECK(joined);
    CHECK(calm.elapsed() == 3s);
}

TEST_CASE("a task run in another scope is cancelled with that scope, and with its awaiter's", "[io]") {
    Calm calm;
    Scope inner(calm.loop);
    CHECK(run(calm.loop, runs_inside(calm.loop, inner, 0s)) == 9);
    CHECK(run(calm.loop, runs_inside(calm.loop, inner, 1s)) == 9);
    inner.cancel();
    auto late = run(calm.loop, runs_inside(calm.loop, inner, 1s));
    CHECK(late.error().reason == Reason::cancelled);

    Scope outer(calm.loop), other(calm.loop);
    std::optional<Result<int>> kept;
    check(outer.start(keep(kept, runs_inside(calm.loop, other, 1h))));
    calm.loop.turn_once();
    outer.cancel();
    calm.loop.run_until_idle();
    REQUIRE(kept);
    CHECK(kept->error().reason == Reason::cancelled);
    CHECK(other.cancelled());
}

TEST_CASE("within() tells a deadline from a value that came in time", "[io]") {
    Calm calm;
    CHECK(run(calm.loop, at_most(calm.loop, 2s, 1s)) == 3);
    CHECK(calm.elapsed() == 1s);
    auto late = run(calm.loop, at_most(calm.loop, 2s, 3s));
    CHECK(late.error().reason == Reason::timed_out);
    CHECK(calm.elapsed() == 3s);
    CHECK_FALSE(calm.loop.next_timer());
}

TEST_CASE("a deadline cancels its scope and says so; a cancel before it does not", "[io]") {
    for (bool by_hand : {false, true}) {
        Calm calm;
        Scope scope(calm.loop);
        bool expired = !by_hand;
        std::optional<Result<Done>> out;
        check(scope.start(keep_result(under_deadline(calm.loop, scope, expired), out)));
        calm.loop.turn_once();
        if (by_hand) scope.cancel();
        calm.loop.run_until_idle();
        REQUIRE(out);
        CHECK(out->error().reason == Reason::cancelled);
        CHECK(expired == !by_hand);
        CHECK(calm.elapsed() == (by_hand ? 0s : 5s));
    }
}
