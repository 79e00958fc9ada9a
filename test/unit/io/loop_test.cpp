// The loop itself: timers, end-of-turn hooks, budgets, stop.
#include "test/unit/io/calm.h"

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

class Alarm final : public Timer {
public:
    Alarm(std::vector<int>& rang, int name) : rang_(rang), name_(name) {}
    void due() override { rang_.push_back(name_); }

private:
    std::vector<int>& rang_;
    int name_;
};

class Hook final : public TurnEnd {
public:
    explicit Hook(Loop& loop) : loop_(loop) {}
    ~Hook() { loop_.forget(*this); }
    void turn_end() override {
        ++ran;
        if (again) loop_.at_turn_end(*this);
        if (forgets) loop_.forget(*forgets);
    }
    int ran = 0;
    bool again = false;
    Hook* forgets = nullptr;

private:
    Loop& loop_;
};

Task<void> ping_pong(Event& mine, Event& others, int& rounds) {
    for (;;) {
        Result<Done> woken = co_await mine.wait();
        if (!woken) co_return;
        ++rounds;
        others.set();
    }
}

Task<void> seen_by(Loop*& current) {
    current = Loop::current();
    co_return;
}

}  // namespace

TEST_CASE("timers fire in the order of their times, equal ones in the order of asking", "[io]") {
    Calm calm;
    std::vector<int> rang;
    std::vector<std::unique_ptr<Alarm>> alarms;
    SeededRandom random(5);
    std::vector<std::pair<Duration, int>> expected;
    for (int i = 0; i < 500; ++i) {
        alarms.push_back(std::make_unique<Alarm>(rang, i));
        auto after = std::chrono::milliseconds(random.below(50));
        calm.loop.arm(*alarms.back(), calm.start + after);
        if (i % 3 != 0) expected.emplace_back(after, i);
    }
    for (int i = 0; i < 500; i += 3) calm.loop.disarm(*alarms[static_cast<std::size_t>(i)]);
    std::ranges::sort(expected);
    calm.loop.run_until_idle();
    REQUIRE(rang.size() == expected.size());
    for (std::size_t i = 0; i < rang.size(); ++i) REQUIRE(rang[i] == expected[i].second);
}

TEST_CASE("a timer armed again fires once, at its last time", "[io]") {
    Calm calm;
    std::vector<int> rang;
    Alarm alarm(rang, 1);
    calm.loop.arm(alarm, calm.start + 1s);
    calm.loop.arm(alarm, calm.start + 3s);
    CHECK(alarm.armed());
    calm.loop.run_until_idle();
    CHECK(rang == std::vector{1});
    CHECK(calm.elapsed() == 3s);
    calm.loop.disarm(alarm);
}

TEST_CASE(
    "a hook runs once a turn however often it was asked for, and asking from inside means the next turn",
    "[io]") {
    Calm calm;
    Hook one(calm.loop), two(calm.loop), three(calm.loop);
    one.again = true;
    two.forgets = &three;
    for (int i = 0; i < 3; ++i)
        for (Hook* hook : {&one, &two, &three}) calm.loop.at_turn_end(*hook);
    calm.loop.turn_once();
    CHECK(one.ran == 1);
    CHECK(two.ran == 1);
    CHECK(three.ran == 0);
    one.again = false;
    calm.loop.run_until_idle();
    CHECK(one.ran == 2);
    CHECK(two.ran == 1);
}

TEST_CASE("tasks that wake each other for ever starve neither timers nor hooks", "[io]") {
    Calm calm;
    Event a(calm.loop), b(calm.loop);
    Scope scope(calm.loop);
    int rounds = 0;
    check(scope.start(ping_pong(a, b, rounds)));
    check(scope.start(ping_pong(b, a, rounds)));
    a.set();
    Hook hook(calm.loop);
    calm.loop.at_turn_end(hook);
    calm.loop.turn_once();
    CHECK(hook.ran == 1);
    CHECK(rounds > 100);
    CHECK(rounds <= static_cast<int>(Loop::resumes_max));
    scope.cancel();
    calm.loop.run_until_idle();
}

TEST_CASE("a stop ends run once, also one that came before", "[io]") {
    Calm calm;
    calm.loop.stop();
    CHECK_FALSE(calm.loop.run_until_idle());
    CHECK(calm.loop.run_until_idle());
}

TEST_CASE("the current loop is known to whoever it runs and to nobody else", "[io]") {
    Calm calm;
    Scope scope(calm.loop);
    Loop* current = nullptr;
    check(scope.start(seen_by(current)));
    calm.loop.run_until_idle();
    CHECK(current == &calm.loop);
    CHECK(Loop::current() == nullptr);
}

TEST_CASE("mail is taken in order, also what a message posts", "[io]") {
    Calm calm;
    std::vector<int> took;
    calm.loop.post_message([&] {
        took.push_back(1);
        calm.loop.post_message([&] { took.push_back(3); });
    });
    calm.loop.post_message([&] { took.push_back(2); });
    calm.loop.run_until_idle();
    CHECK(took == std::vector{1, 2, 3});
}
