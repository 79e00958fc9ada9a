// One loop per core: a driver, a ready queue, timers and a mailbox. Nothing acts inside a completion:
// completions are queued, then resumed by run() only (docs/style.md 3.5).
//
// A turn: at most Driver::completions_max completions are reaped, due timers fire, mail is taken, then at
// most `resumes_max` tasks are resumed, then the end-of-turn hooks run (a link flushes all it sealed in one
// send), then submit.
//
// Everything belongs to the thread that runs the loop, except stop() and post_message(). The mailbox has no
// bound of its own: only our own threads write to it, each of them bounded by what it reads (accepted sockets
// by the accept budget).
#pragma once
#include "lib/io/driver.h"

#include <atomic>
#include <coroutine>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace culvert::io {

// Something that wants to act once at the end of this turn. Intrusive: asking twice is asking once.
class TurnEnd {
public:
    virtual void turn_end() = 0;

protected:
    ~TurnEnd() { check(!queued_); }

private:
    friend class Loop;
    TurnEnd* next_ = nullptr;
    std::uint32_t asked_in_ = 0;
    bool queued_ = false;
};

// Something that wants to act once at a time. due() runs in the loop, between completions and resumptions: it
// may post, set events and cancel, not wait. Disarmed before it dies.
class Timer {
public:
    virtual void due() = 0;
    bool armed() const { return place_ != nowhere; }

protected:
    ~Timer() { check(!armed()); }

private:
    friend class Loop;
    static constexpr std::size_t nowhere = ~std::size_t{0};
    std::size_t place_ = nowhere;  // in the loop's heap
};

// Handles waiting to be resumed, first in first out; grows to the largest number that was ever ready and
// stays there.
class ReadyQueue {
public:
    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    void push(std::coroutine_handle<> handle) {
        if (size_ == ring_.size()) grow();
        ring_[(first_ + size_++) & (ring_.size() - 1)] = handle;
    }
    std::coroutine_handle<> pop() {
        auto handle = ring_[first_];
        first_ = (first_ + 1) & (ring_.size() - 1);
        --size_;
        return handle;
    }

private:
    void grow();
    std::vector<std::coroutine_handle<>> ring_;  // a power of two
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

class Loop {
public:
    static constexpr std::size_t resumes_max = 512;  // per turn

    explicit Loop(std::unique_ptr<Driver> driver);
    ~Loop();  // checks that nothing is in flight and no task is left
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void run();             // until stop(), also one that came before
    void stop();            // from any thread
    bool run_until_idle();  // until nothing can happen any more; false if stop() came first
    void turn_once();       // one turn that does not wait: for whoever runs several loops on one thread
    bool ready() const;     // a turn would find something to do at once
    std::optional<Instant> next_timer() const;

    void post(std::coroutine_handle<> ready) { ready_.push(ready); }
    void post_message(std::move_only_function<void()> message);  // mailbox; from any thread
    void at_turn_end(TurnEnd& who);
    void forget(TurnEnd& who);  // before `who` is destroyed
    void arm(Timer& who, Instant at);
    void disarm(Timer& who);  // nothing if it is not armed

    Driver& driver() { return *driver_; }
    const Clock& clock() const { return driver_->clock(); }
    Instant now() const { return clock().now(); }
    Random& random() { return driver_->random(); }
    std::size_t tasks() const { return tasks_; }  // alive
    std::string parked() const;                   // who is parked where, for how long, on what: /debug/tasks

    static Loop* current();  // the loop that this thread is running, or null

    // For awaitables. park() says false when the task's scope is cancelled: then it must not wait, unless it
    // waits for tasks of another scope and passes the cancel on. begin() also submits.
    bool park(Wait& wait, TaskBase& task);
    bool begin(Op& op, TaskBase& task);
    // This turn's start, modulo 2^32: for who is parked how long.
    std::uint32_t turn_ms() const { return turn_ms_; }
    void wake_up(Wait& wait);  // leaves the scope's list, and the ready queue is its task's next place

private:
    friend class TaskBase;
    struct Due {
        Instant at;
        std::uint64_t order;  // equal times fire in the order in which they were asked for
        Timer* who;
        bool before(const Due& other) const;
    };

    void turn(std::optional<Instant> until);
    bool take_stop();
    void fire_timers();
    void take_mail();
    void resume_ready();
    void sweep();  // destroys root tasks that have returned
    void run_turn_ends();
    std::optional<Instant> until() const;
    void place(std::size_t at, Due due);
    void sift_up(std::size_t at, Due due);
    void sift_down(std::size_t at, Due due);

    std::unique_ptr<Driver> driver_;
    ReadyQueue ready_;
    std::vector<Op*> done_;
    std::vector<Due> timers_;  // a binary heap
    std::uint64_t timer_order_ = 0;
    TurnEnd* first_turn_end_ = nullptr;
    TurnEnd* last_turn_end_ = nullptr;
    std::uint32_t turn_end_ = 0;  // counts ends of turns
    Link alive_;                  // TaskBase of every task that was started and has not returned
    Link returned_;               // roots to destroy
    std::size_t tasks_ = 0;
    std::uint32_t turn_ms_ = 0;
    std::atomic<bool> stop_ = false;
    std::atomic<bool> has_mail_ = false;
    std::mutex mail_lock_;
    std::vector<std::move_only_function<void()>> mail_;
};

}  // namespace culvert::io
