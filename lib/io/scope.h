// Owns the tasks it started and ends in one order only: cancel (a request), join (every child has really
// returned), destroy. A destructor that finds a child is a bug and says so. All of it lives on one loop.
#pragma once
#include "lib/io/loop.h"
#include "lib/io/task.h"

namespace culvert::io {

class ScopeWait;

class Scope {
public:
    class Join;
    template <class T> class Run;

    explicit Scope(Loop& loop) : loop_(loop) {}
    ~Scope() { check(children_ == 0 && !waits_.linked()); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    // They run from the loop's next turn on, also in a cancelled scope (a first wait then says so). False if
    // the frame of one was refused: then none runs, and what they were given is gone already.
    template <class... T> [[nodiscard]] bool start(Task<T>... children) {
        if ((children.refused() || ...)) return false;
        (start_one(std::move(children)), ...);
        return true;
    }
    void cancel();  // every wait of every child, however deeply nested, returns Reason::cancelled; idempotent
    bool cancelled() const { return cancelled_; }
    std::size_t children() const { return children_; }
    Loop& loop() const { return loop_; }

    // co_await join(): until children() == 0, without a value. It never returns early: if the waiting task's
    // own scope is cancelled meanwhile (or was), this scope is cancelled too and its children are waited for.
    Join join();
    // co_await run(std::move(task)): its value, run in this scope instead of the waiting task's. Cancelling
    // as for join().
    template <class T> Run<T> run(Task<T> child) { return Run<T>(*this, std::move(child)); }

private:
    friend class Loop;

    template <class T> void start_one(Task<T> child) {
        auto handle = child.release();
        start_root(handle.promise(), handle);
    }
    void start_root(TaskBase& child, std::coroutine_handle<> handle);
    bool run_child(TaskBase& child, TaskBase& parent, std::coroutine_handle<> handle);  // true: it is parked
    void child_gone();

    Loop& loop_;
    Link waits_;  // where the tasks of this scope are parked
    Join* joiner_ = nullptr;
    std::size_t children_ = 0;
    bool cancelled_ = false;
};

// A wait for tasks of another scope: a cancel goes on to that scope, and the wait goes on.
class ScopeWait : public Wait {
public:
    explicit ScopeWait(Scope& scope) : Wait(Kind::join), scope_(scope) {}

protected:
    friend class Scope;
    void park(TaskBase& task);  // cancels scope_ if the task's own scope is cancelled
    Scope& scope_;
};

class Scope::Join : public ScopeWait {
public:
    using ScopeWait::ScopeWait;
    bool await_ready() const noexcept { return scope_.children_ == 0; }
    template <class P> void await_suspend(std::coroutine_handle<P> task) {
        wait_for_children(task.promise());
    }
    void await_resume() const noexcept {}

private:
    void wait_for_children(TaskBase& task);
};

inline Scope::Join Scope::join() { return Join(*this); }

template <class T> class Scope::Run : public ScopeWait {
public:
    Run(Scope& scope, Task<T> child) : ScopeWait(scope), child_(std::move(child)) {}
    bool await_ready() const noexcept { return child_.refused(); }
    template <class P> bool await_suspend(std::coroutine_handle<P> parent) {
        auto child = child_.handle();
        if (!scope_.run_child(child.promise(), parent.promise(), child)) return false;
        park(parent.promise());
        return true;
    }
    T await_resume() {
        leave();
        if (child_.refused()) return no_frame<T>();
        scope_.child_gone();  // at most posts a joiner: the frame is gone before anybody runs
        Task<T> child = std::move(child_);
        return child.handle().promise().take();
    }

private:
    Task<T> child_;
};

// One waiter, remembered wake-ups: set() before wait() is not lost, twice is once.
class Event {
public:
    class Waiting;

    explicit Event(Loop& loop) : loop_(loop) {}
    ~Event() { check(!waiting_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void set();
    bool waited_for() const { return waiting_ != nullptr; }
    Waiting wait();  // Result<Done>: cancelled, or set

private:
    Loop& loop_;
    Waiting* waiting_ = nullptr;
    bool set_ = false;
};

class Event::Waiting : public Wait {
public:
    explicit Waiting(Event& event) : Wait(Kind::event), event_(event) {}
    bool await_ready() const noexcept { return false; }
    template <class P> bool await_suspend(std::coroutine_handle<P> task) { return wait_in(task.promise()); }
    Result<Done> await_resume() const {
        if (cancelled_) return refuse(Reason::cancelled);
        return Done{};
    }

private:
    friend class Scope;
    bool wait_in(TaskBase& task);
    void cancel();
    Event& event_;
    bool cancelled_ = false;
};

inline Event::Waiting Event::wait() { return Waiting(*this); }

class Sleep final : public Wait, public Timer {
public:
    Sleep(Loop& loop, Duration duration) : Wait(Kind::sleep), loop_(loop), duration_(duration) {}
    bool await_ready() const noexcept { return false; }
    template <class P> bool await_suspend(std::coroutine_handle<P> task) { return wait_in(task.promise()); }
    Result<Done> await_resume() const {
        if (cancelled_) return refuse(Reason::cancelled);
        return Done{};
    }

private:
    friend class Scope;
    void due() override;
    bool wait_in(TaskBase& task);
    void cancel();
    Loop& loop_;
    Duration duration_;
    bool cancelled_ = false;
};

// co_await sleep(loop, duration): Result<Done>: after `duration`, or cancelled.
inline Sleep sleep(Loop& loop, Duration duration) { return Sleep(loop, duration); }

// Cancels `scope` when `after` has passed, unless destroyed first. expired() then tells a deadline from a
// cancel.
class Deadline final : Timer {
public:
    Deadline(Loop& loop, Scope& scope, Duration after);
    ~Deadline();
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;
    bool expired() const { return expired_; }

private:
    void due() override;
    Loop& loop_;
    Scope& scope_;
    bool expired_ = false;
};

// `child`'s result, or Reason::timed_out when it was cancelled because `after` had passed. A child that
// succeeds although its time is over keeps its success.
template <class T> Task<Result<T>> within(Loop& loop, Duration after, Task<Result<T>> child) {
    Scope scope(loop);
    Deadline deadline(loop, scope, after);
    Result<T> result = co_await scope.run(std::move(child));
    if (!result && result.error().reason == Reason::cancelled && deadline.expired()) {
        co_return refuse(Reason::timed_out);
    }
    co_return result;
}

}  // namespace culvert::io
