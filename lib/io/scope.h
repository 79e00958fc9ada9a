// Owns the tasks it started and ends in one order only: cancel (a request), join (every child has really returned),
// destroy. A destructor that finds a child is a bug and says so.
#pragma once
#include "lib/io/loop.h"
#include "lib/io/task.h"

namespace culvert::io {

class Scope {
public:
    explicit Scope(Loop& loop);
    ~Scope();
    template <class T> void start(Task<T> child);  // runs from the loop's next turn on
    void cancel();                                 // every wait of every child returns Reason::cancelled; idempotent
    bool cancelled() const;
    std::size_t children() const;
    auto join();                                   // co_await: until children() == 0

private:
    Loop& loop_;
};

// One waiter, remembered wake-ups: set() before wait() is not lost.
class Event {
public:
    explicit Event(Loop& loop);
    void set();
    bool waited_for() const;
    auto wait();  // Result<Done>: cancelled, or set
};

// Result<Done>: after `duration`, or cancelled.
auto sleep(Loop& loop, Duration duration);

// Cancels `scope` when `after` has passed, unless destroyed first. expired() then tells a deadline from a cancel.
class Deadline {
public:
    Deadline(Loop& loop, Scope& scope, Duration after);
    ~Deadline();
    bool expired() const;
};

}  // namespace culvert::io
