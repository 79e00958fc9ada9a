// Task<T>: a named coroutine, lazy: it runs when it is awaited or started by a Scope, and after its first
// wait it is resumed by the loop only. T is usually Result<...>. Frames come from frames.h. Awaiting an
// operation returns Reason::cancelled once the Scope that started the task was cancelled.
//
// await_suspend answers bool and a returning child posts its parent to the ready queue: no symmetric
// transfer, so the stack never grows with the number of awaits (docs/style.md 3.2). A child that returns
// without ever waiting costs no turn. A Task is destroyed before it was started or after it returned, never
// while parked: that would be a bug.
#pragma once
#include "lib/base/result.h"
#include "lib/io/frames.h"
#include "lib/io/op.h"

#include <coroutine>
#include <optional>
#include <source_location>
#include <utility>

namespace culvert::io {

class Loop;
class Scope;
template <class T> class Task;

// What every task's frame carries for the loop: its scope, who goes on after it, and where it is parked.
class TaskBase : Link {
public:
    static void* operator new(std::size_t size) noexcept { return FramePool::here().take(size); }
    static void operator delete(void* frame, std::size_t size) noexcept {
        FramePool::here().give_back(frame, size);
    }

    // Every await passes here first, which is how /debug/tasks knows the line.
    template <class A>
    A&& await_transform(A&& awaited, std::source_location where = std::source_location::current()) noexcept {
        where_ = where;
        return static_cast<A&&>(awaited);
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    [[noreturn]] void unhandled_exception() noexcept { bug("an exception left a coroutine"); }

    Scope* scope() const { return scope_; }
    // Before the first resume: joins the loop's list of living tasks. A root is destroyed by the loop when it
    // has returned.
    void begin(Scope& scope, std::coroutine_handle<> self, bool root);
    void parked_on(TaskBase& child);  // goes on after `child` has returned
    void returned() noexcept;

protected:
    TaskBase() = default;
    ~TaskBase() { check(!linked()); }

private:
    friend class Loop;
    Scope* scope_ = nullptr;
    TaskBase* parent_ = nullptr;  // who goes on afterwards
    std::coroutine_handle<> self_;
    std::source_location where_;
    const Wait* parked_at_ = nullptr;
    std::uint32_t parked_since_ms_ = 0;  // of the loop's clock, modulo 2^32
    bool root_ = false;
    bool awaits_task_ = false;
};

struct TaskEnd {
    bool await_ready() const noexcept { return false; }
    template <class P> void await_suspend(std::coroutine_handle<P> self) const noexcept {
        self.promise().returned();
    }
    void await_resume() const noexcept {}
};

template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<Result<T>> = true;

// What awaiting a task yields whose frame was refused.
template <class T> T no_frame() {
    if constexpr (is_result<T>) return refuse(Reason::limit);
    bug("no memory for a coroutine that cannot fail");
}

template <class T> class TaskPromise final : public TaskBase {
public:
    Task<T> get_return_object() noexcept;
    static Task<T> get_return_object_on_allocation_failure() noexcept;
    TaskEnd final_suspend() const noexcept { return {}; }
    template <class U = T> void return_value(U&& value) { value_.emplace(std::forward<U>(value)); }
    T take() { return *std::move(value_); }

private:
    std::optional<T> value_;
};

template <> class TaskPromise<void> final : public TaskBase {
public:
    Task<void> get_return_object() noexcept;
    static Task<void> get_return_object_on_allocation_failure() noexcept;
    TaskEnd final_suspend() const noexcept { return {}; }
    void return_void() const {}
    void take() const {}
};

template <class T> class [[nodiscard]] Task {
public:
    using promise_type = TaskPromise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    Task() = default;  // as if its frame had been refused
    explicit Task(Handle handle) : handle_(handle) {}
    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Task& operator=(Task&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }

    bool refused() const { return !handle_; }
    Handle handle() const { return handle_; }
    Handle release() { return std::exchange(handle_, {}); }

    struct Awaiter {
        Handle child;
        bool await_ready() const noexcept { return false; }
        template <class P> bool await_suspend(std::coroutine_handle<P> parent) noexcept {
            if (!child) return false;
            child.promise().begin(*parent.promise().scope(), child, false);
            child.resume();
            if (child.done()) return false;
            parent.promise().parked_on(child.promise());
            return true;
        }
        T await_resume() const {
            if (!child) return no_frame<T>();
            return child.promise().take();
        }
    };
    Awaiter operator co_await() const noexcept { return {handle_}; }

private:
    Handle handle_;
};

template <class T> Task<T> TaskPromise<T>::get_return_object() noexcept {
    return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
template <class T> Task<T> TaskPromise<T>::get_return_object_on_allocation_failure() noexcept {
    return Task<T>();
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
    return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object_on_allocation_failure() noexcept {
    return Task<void>();
}

}  // namespace culvert::io
