#include "lib/io/scope.h"

namespace culvert::io {

void Scope::start_root(TaskBase& child, std::coroutine_handle<> handle) {
    ++children_;
    child.begin(*this, handle, true);
    loop_.post(handle);
}

bool Scope::run_child(TaskBase& child, TaskBase& parent, std::coroutine_handle<> handle) {
    if (parent.scope()->cancelled()) cancel();
    ++children_;
    child.begin(*this, handle, false);
    handle.resume();
    if (handle.done()) return false;
    parent.parked_on(child);
    return true;
}

void Scope::child_gone() {
    check(children_ > 0);
    if (--children_ == 0 && joiner_) loop_.wake_up(*std::exchange(joiner_, nullptr));
}

// Only asks: operations complete later, events and sleeps are woken, joins pass it on and go on waiting. A
// task that is ready to run is told at its next wait.
void Scope::cancel() {
    if (std::exchange(cancelled_, true)) return;
    while (waits_.linked()) {
        auto& wait = static_cast<Wait&>(*waits_.after);
        wait.leave();
        switch (wait.kind) {
        case Wait::Kind::event: static_cast<Event::Waiting&>(wait).cancel(); break;
        case Wait::Kind::sleep: static_cast<Sleep&>(wait).cancel(); break;
        case Wait::Kind::join: static_cast<ScopeWait&>(wait).scope_.cancel(); break;
        default: {
            auto& op = static_cast<Op&>(wait);
            op.cancel_asked = true;
            loop_.driver().cancel(op);
        }
        }
    }
}

void ScopeWait::park(TaskBase& task) {
    if (!task.scope()->loop().park(*this, task)) scope_.cancel();
}

void Scope::Join::wait_for_children(TaskBase& joining) {
    check(!scope_.joiner_);  // one joiner at a time
    scope_.joiner_ = this;
    park(joining);
}

void Event::set() {
    if (!waiting_) {
        set_ = true;
        return;
    }
    loop_.wake_up(*std::exchange(waiting_, nullptr));
}

bool Event::Waiting::wait_in(TaskBase& waiter) {
    check(!event_.waiting_);  // one waiter at a time
    if (waiter.scope()->cancelled()) {
        cancelled_ = true;
        return false;
    }
    if (std::exchange(event_.set_, false)) return false;
    event_.loop_.park(*this, waiter);
    event_.waiting_ = this;
    return true;
}

void Event::Waiting::cancel() {
    cancelled_ = true;
    event_.waiting_ = nullptr;
    event_.loop_.wake_up(*this);
}

bool Sleep::wait_in(TaskBase& sleeper) {
    if (!loop_.park(*this, sleeper)) {
        cancelled_ = true;
        return false;
    }
    loop_.arm(*this, loop_.now() + duration_);
    return true;
}

void Sleep::due() { loop_.wake_up(*this); }

void Sleep::cancel() {
    cancelled_ = true;
    loop_.disarm(*this);
    loop_.wake_up(*this);
}

Deadline::Deadline(Loop& loop, Scope& scope, Duration after) : loop_(loop), scope_(scope) {
    loop_.arm(*this, loop_.now() + after);
}

Deadline::~Deadline() { loop_.disarm(*this); }

void Deadline::due() {
    expired_ = true;
    scope_.cancel();
}

}  // namespace culvert::io
