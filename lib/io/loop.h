// One loop per core: a driver, a ready queue, timers, a mailbox and a pool of coroutine frames. Nothing acts inside a
// completion: completions are queued, then resumed by run() only (docs/style.md 3.5).
//
// A turn: at most `completions_max` completions are reaped, due timers fire, mail is taken, then at most `resumes_max`
// tasks are resumed, then the end-of-turn hooks run (a link flushes all it sealed in one send), then submit.
#pragma once
#include "lib/io/driver.h"

#include <coroutine>
#include <functional>
#include <memory>

namespace culvert::io {

// Something that wants to act once at the end of this turn. Intrusive: asking twice is asking once.
class TurnEnd {
public:
    virtual void turn_end() = 0;

protected:
    ~TurnEnd() = default;

private:
    friend class Loop;
    TurnEnd* next_ = nullptr;
    bool queued_ = false;
};

class Loop {
public:
    explicit Loop(std::unique_ptr<Driver> driver);
    ~Loop();  // checks that nothing is in flight and no task is left
    Loop(const Loop&) = delete;

    void run();                           // until stop()
    void stop();                          // from any thread
    bool run_until_idle();                // simulator: until nothing can happen any more; false if stop() came first
    void post(std::coroutine_handle<> ready);
    void post_message(std::move_only_function<void()> message);  // mailbox; from any thread
    void at_turn_end(TurnEnd& who);
    void forget(TurnEnd& who);            // before `who` is destroyed

    Driver& driver() { return *driver_; }
    const Clock& clock() const { return driver_->clock(); }
    Instant now() const { return clock().now(); }
    Random& random() { return driver_->random(); }
    std::size_t tasks() const;            // alive
    std::string parked() const;           // who is parked where, for how long: /debug/tasks

    static Loop* current();               // the loop that this thread is running, or null

private:
    std::unique_ptr<Driver> driver_;
};

}  // namespace culvert::io
