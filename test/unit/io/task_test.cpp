// Tasks: lazy, nested, refused, listed; resumed by the loop only, however many awaits there are.
#include "test/unit/io/calm.h"

#include <thread>

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

struct Counts {
    int begun = 0;
    int gone = 0;
};

struct Witness {
    explicit Witness(Counts& to) : counts(&to) { ++counts->begun; }
    Witness(Witness&& other) noexcept : counts(std::exchange(other.counts, nullptr)) {}
    ~Witness() {
        if (counts) ++counts->gone;
    }
    Counts* counts;
};

Task<Result<int>> answer(int value) { co_return value; }

Task<Result<int>> refusal() { co_return refuse(Reason::bad_input, 7); }

Task<Result<int>> sum() {
    auto first = answer(40);
    CO_TRY(int forty, co_await first);
    CO_TRY(int two, co_await answer(2));
    co_return forty + two;
}

Task<Result<int>> passes_on_a_refusal() {
    CO_TRY(int never, co_await refusal());
    co_return never;
}

Task<Result<Done>> note(bool& ran) {
    ran = true;
    co_return Done{};
}

Task<Result<int>> sleepy(Loop& loop, int value) {
    CO_TRY_DONE(co_await sleep(loop, 1ms));
    co_return value;
}

Task<Result<std::uint64_t>> many_awaits(Loop& loop, int ready, int parked) {
    std::uint64_t total = 0;
    for (int i = 0; i < ready; ++i) {
        CO_TRY(int one, co_await answer(1));
        total += static_cast<std::uint64_t>(one);
    }
    for (int i = 0; i < parked; ++i) {
        CO_TRY(int one, co_await sleepy(loop, 1));
        total += static_cast<std::uint64_t>(one);
    }
    co_return total;
}

Task<void> holds(Loop& loop, [[maybe_unused]] Witness witness) { co_await sleep(loop, 1ms); }

Task<Result<std::unique_ptr<int>>> moves() { co_return std::make_unique<int>(5); }

Task<Result<int>> awaits_moved() {
    CO_TRY(std::unique_ptr<int> five, co_await moves());
    co_return *five;
}

Task<void> parked_forever(Loop&, Event& event) { co_await event.wait(); }

Task<void> parked_below(Loop& loop, Event& event) { co_await parked_forever(loop, event); }

Task<Result<std::string>> who_is_parked(Loop& loop) {
    co_await sleep(loop, 0ms);
    co_return loop.parked();
}

}  // namespace

TEST_CASE("a task does nothing until it is awaited, and one that never is takes nothing along", "[io]") {
    bool ran = false;
    {
        auto task = note(ran);
    }
    CHECK_FALSE(ran);
    CHECK(FramePool::here().alive() == 0);
}

TEST_CASE("values and refusals come back through nested tasks", "[io]") {
    Calm calm;
    CHECK(run(calm.loop, sum()) == 42);
    CHECK(run(calm.loop, awaits_moved()) == 5);
    auto refused = run(calm.loop, passes_on_a_refusal());
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == Error{Reason::bad_input, 7, {}});
}

TEST_CASE("a million ready and a hundred thousand parked awaits need no more stack than one", "[io]") {
    Calm calm;
    CHECK(run(calm.loop, many_awaits(calm.loop, 1'000'000, 100'000)) == 1'100'000);
    CHECK(FramePool::here().alive() == 0);
}

TEST_CASE("what a task was given is gone when it is no child any more", "[io]") {
    Calm calm;
    Counts counts;
    Scope scope(calm.loop);
    CHECK(scope.start(holds(calm.loop, Witness(counts))));
    CHECK(counts.gone == 0);
    CHECK(calm.loop.run_until_idle());
    CHECK(scope.children() == 0);
    CHECK(counts.begun == 1);
    CHECK(counts.gone == 1);
}

TEST_CASE("a refused frame is a value where it is awaited and a no where it is started", "[io]") {
    Calm calm;
    Counts counts;
    Scope scope(calm.loop);
    FramePool::here().refuse_the(1);
    CHECK_FALSE(scope.start(holds(calm.loop, Witness(counts))));
    CHECK(counts.begun == counts.gone);
    for (std::uint64_t nth = 3; nth <= 4; ++nth) {  // of keep(), sum(), and the two that sum() awaits
        auto summing = sum();
        FramePool::here().refuse_the(nth - 1);
        auto result = run(calm.loop, std::move(summing));
        REQUIRE_FALSE(result);
        CHECK(result.error().reason == Reason::limit);
    }
    CHECK(FramePool::here().alive() == 0);
}

TEST_CASE("the list of parked tasks names function, file and line, what they wait for and how long", "[io]") {
    Calm calm;
    Event event(calm.loop);
    Scope scope(calm.loop);
    check(scope.start(parked_below(calm.loop, event)));
    calm.loop.turn_once();
    auto slept = run(calm.loop, sleepy(calm.loop, 0));
    REQUIRE(slept);
    std::string parked = calm.loop.parked();
    INFO(parked);
    CHECK(parked.find("parked_forever") != parked.npos);
    CHECK(parked.find("parked_below") != parked.npos);
    CHECK(parked.find("task_test.cpp:") != parked.npos);
    CHECK(parked.find(" event 1ms") != parked.npos);
    CHECK(parked.find(" task 1ms") != parked.npos);
    CHECK(calm.loop.tasks() == 2);
    auto own = run(calm.loop, who_is_parked(calm.loop));
    CHECK(own->find("who_is_parked") != own->npos);
    CHECK(own->find(" runs\n") != own->npos);
    event.set();
    calm.loop.run_until_idle();
    CHECK(calm.loop.parked().empty());
}

TEST_CASE("what a burst of frames took goes back to the system, whatever lives between them", "[io]") {
    FramePool pool;
    std::vector<void*> lasting, burst;
    for (int i = 0; i < 10'000; ++i) {
        lasting.push_back(pool.take(200));
        burst.push_back(pool.take(900));
    }
    const std::size_t most = pool.slabs();
    for (void* frame : burst) pool.give_back(frame, 900);
    // Under ASan every frame is the heap's and there are no slabs.
    CHECK(pool.slabs() <= most / 3 + FramePool::spares_max);
    for (void* frame : lasting) pool.give_back(frame, 200);
    CHECK(pool.slabs() <= FramePool::spares_max);
}

TEST_CASE("a frame may be given back on another thread, also after its own has ended", "[io][tsan]") {
    void* early = FramePool::here().take(200);
    void* late = nullptr;
    std::thread([&] {
        FramePool::here().give_back(early, 200);
        late = FramePool::here().take(300);
    }).join();
    FramePool::here().give_back(late, 300);
    void* again = FramePool::here().take(200);  // finds what came back
    FramePool::here().give_back(again, 200);
}

TEST_CASE("frames are counted and given back, large ones too", "[io]") {
    FramePool pool;
    std::vector<void*> frames;
    for (int i = 0; i < 100'000; ++i) frames.push_back(pool.take(200));
    CHECK(pool.alive() == 100'000);
    CHECK(pool.alive_bytes() == 20'000'000);
    for (void* frame : frames) pool.give_back(frame, 200);
    CHECK(pool.alive() == 0);
    CHECK(pool.alive_bytes() == 0);
    CHECK(pool.slabs() <= FramePool::spares_max);
    void* large = pool.take(FramePool::pooled_max + 1);
    REQUIRE(large != nullptr);
    pool.give_back(large, FramePool::pooled_max + 1);
}
