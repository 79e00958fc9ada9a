#include "lib/io/task.h"

#include "lib/io/scope.h"

namespace culvert::io {

void TaskBase::begin(Scope& scope, std::coroutine_handle<> self, bool root) {
    check(!self_);  // a task runs once
    scope_ = &scope;
    self_ = self;
    root_ = root;
    Loop& loop = scope.loop();
    join(loop.alive_);
    ++loop.tasks_;
}

void TaskBase::parked_on(TaskBase& child) {
    child.parent_ = this;
    awaits_task_ = true;
    parked_since_ms_ = scope_->loop().turn_ms();
}

void TaskBase::returned() noexcept {
    Loop& loop = scope_->loop();
    leave();
    --loop.tasks_;
    if (root_) {
        join(loop.returned_);
    } else if (parent_) {
        parent_->awaits_task_ = false;
        parent_->parked_at_ = nullptr;
        loop.post(parent_->self_);
    }
}

}  // namespace culvert::io
