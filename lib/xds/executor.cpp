#include "lib/xds/executor.h"

#include "lib/base/check.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>
#include <tuple>
#include <vector>

namespace culvert::xds {

struct ThreadExecutor::State {
    struct Later {
        Instant at;
        std::uint64_t order;  // equal times run in the order in which they were asked for
        Work work;
    };
    static bool later(const Later& a, const Later& b) {
        return std::tie(a.at, a.order) > std::tie(b.at, b.order);
    }

    // Waits for the next piece of work; none: stop.
    Work take(const Clock& clock) {
        std::unique_lock hold(lock);
        for (;;) {
            if (stopped) return nullptr;
            Instant now = clock.now();
            if (!timers.empty() && timers.front().at <= now) {
                std::ranges::pop_heap(timers, later);
                Work work = std::move(timers.back().work);
                timers.pop_back();
                return work;
            }
            if (!queue.empty()) {
                Work work = std::move(queue.front());
                queue.pop();
                return work;
            }
            if (timers.empty())
                wake.wait(hold);
            else
                wake.wait_for(hold, timers.front().at - now);
        }
    }

    std::mutex lock;
    std::condition_variable wake;
    std::queue<Work> queue;
    std::vector<Later> timers;  // a heap, the earliest in front
    std::uint64_t order = 0;
    bool stopped = false;
    std::thread thread;
};

ThreadExecutor::ThreadExecutor(const char* name, const Clock& clock)
    : clock_(clock), random_(system_seed()), state_(std::make_unique<State>()) {
    state_->thread = std::thread([this] {
        while (Work work = state_->take(clock_)) work();
    });
    pthread_setname_np(state_->thread.native_handle(), name);
}

ThreadExecutor::~ThreadExecutor() { stop(); }

void ThreadExecutor::stop() {
    {
        std::lock_guard hold(state_->lock);
        state_->stopped = true;
    }
    state_->wake.notify_all();
    check(state_->thread.get_id() != std::this_thread::get_id());
    if (state_->thread.joinable()) state_->thread.join();
}

void ThreadExecutor::post(Work work) {
    {
        std::lock_guard hold(state_->lock);
        if (state_->stopped) return;
        state_->queue.push(std::move(work));
    }
    state_->wake.notify_one();
}

void ThreadExecutor::after(Duration wait, Work work) {
    {
        std::lock_guard hold(state_->lock);
        if (state_->stopped) return;
        state_->timers.push_back({clock_.now() + wait, state_->order++, std::move(work)});
        std::ranges::push_heap(state_->timers, State::later);
    }
    state_->wake.notify_one();
}

}  // namespace culvert::xds
