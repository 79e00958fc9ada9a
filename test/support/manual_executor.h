// An executor for tests whose clock is turned by hand: run() does what is due now, advance() lets time pass
// and does what falls due on the way, in order. One thread.
#pragma once
#include "lib/xds/executor.h"

#include <deque>
#include <map>
#include <utility>

namespace culvert::test {

class ManualClock final : public Clock {
public:
    Instant now() const override { return now_; }
    WallTime wall() const override { return start + now_.since_start; }
    void set(Instant to) { now_ = to; }

    static constexpr WallTime start{std::chrono::hours(24 * 365 * 56)};  // early in 2026

private:
    Instant now_;
};

class ManualExecutor final : public xds::Executor {
public:
    explicit ManualExecutor(std::uint64_t seed = 1) : random_(seed) {}
    void post(xds::Work work) override { queue_.push_back(std::move(work)); }
    void after(Duration wait, xds::Work work) override {
        later_.emplace(std::pair(clock_.now() + wait, order_++), std::move(work));
    }
    const Clock& clock() const override { return clock_; }
    Random& random() override { return random_; }

    void run() {
        while (step()) {
        }
    }
    void advance(Duration by) {
        Instant end = clock_.now() + by;
        run();
        while (!later_.empty() && later_.begin()->first.first <= end) {
            clock_.set(later_.begin()->first.first);
            run();
        }
        clock_.set(end);
    }
    bool idle() const { return queue_.empty() && later_.empty(); }

private:
    bool step() {
        if (!queue_.empty()) {
            xds::Work work = std::move(queue_.front());
            queue_.pop_front();
            work();
            return true;
        }
        if (later_.empty() || later_.begin()->first.first > clock_.now()) return false;
        xds::Work work = std::move(later_.begin()->second);
        later_.erase(later_.begin());
        work();
        return true;
    }

    ManualClock clock_;
    SeededRandom random_;
    std::deque<xds::Work> queue_;
    std::multimap<std::pair<Instant, std::uint64_t>, xds::Work> later_;
    std::uint64_t order_ = 0;
};

}  // namespace culvert::test
