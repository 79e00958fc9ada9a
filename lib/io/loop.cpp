#include "lib/io/loop.h"

#include "lib/io/scope.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace culvert::io {
namespace {

thread_local Loop* running = nullptr;

// Which loop this thread runs, also when one loop's task runs another (the simulator's nodes share a thread).
class Running {
public:
    explicit Running(Loop& loop) : before_(std::exchange(running, &loop)) {}
    ~Running() { running = before_; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

private:
    Loop* before_;
};

std::uint32_t milliseconds(Instant at) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(at.since_start).count());
}

std::string_view word(Wait::Kind kind) {
    switch (kind) {
    case Wait::Kind::recv: return "recv";
    case Wait::Kind::send: return "send";
    case Wait::Kind::accept: return "accept";
    case Wait::Kind::connect: return "connect";
    case Wait::Kind::readable: return "readable";
    case Wait::Kind::writable: return "writable";
    case Wait::Kind::event: return "event";
    case Wait::Kind::sleep: return "sleep";
    case Wait::Kind::join: return "join";
    }
    return "?";
}

bool is_operation(Wait::Kind kind) { return kind <= Wait::Kind::writable; }

}  // namespace

void ReadyQueue::grow() {
    std::vector<std::coroutine_handle<>> larger(std::max<std::size_t>(64, ring_.size() * 2));
    for (std::size_t i = 0; i < size_; ++i) larger[i] = ring_[(first_ + i) & (ring_.size() - 1)];
    ring_ = std::move(larger);
    first_ = 0;
}

Loop::Loop(std::unique_ptr<Driver> driver) : driver_(std::move(driver)) {
    done_.reserve(Driver::completions_max);
}

Loop::~Loop() {
    check(tasks_ == 0);
    check(driver_->in_flight() == 0);
    check(timers_.empty());
}

Loop* Loop::current() { return running; }

void Loop::run() {
    while (!take_stop()) turn(until());
}

bool Loop::run_until_idle() {
    while (!take_stop()) {
        if (!ready() && timers_.empty() && driver_->idle()) return true;
        turn(until());
    }
    return false;
}

bool Loop::take_stop() {
    if (!stop_.load(std::memory_order_acquire)) return false;
    stop_.store(false, std::memory_order_relaxed);
    return true;
}

void Loop::turn_once() { turn(Instant{}); }

void Loop::stop() {
    stop_.store(true, std::memory_order_release);
    driver_->wake();
}

bool Loop::ready() const {
    return !ready_.empty() || first_turn_end_ || has_mail_.load(std::memory_order_acquire);
}

std::optional<Instant> Loop::next_timer() const {
    if (timers_.empty()) return {};
    return timers_.front().at;
}

std::optional<Instant> Loop::until() const { return ready() ? Instant{} : next_timer(); }

void Loop::turn(std::optional<Instant> until) {
    Running here(*this);
    done_.clear();
    driver_->turn(until, done_);
    turn_ms_ = milliseconds(now());
    for (Op* op : done_) wake_up(*op);
    fire_timers();
    take_mail();
    resume_ready();
    run_turn_ends();
}

// What becomes ready while these run waits for the next turn once the budget is spent, so that completions,
// timers and flushes are never starved by tasks that wake each other.
void Loop::resume_ready() {
    for (std::size_t resumed = 0; resumed < resumes_max && !ready_.empty(); ++resumed) {
        ready_.pop().resume();
        if (returned_.linked()) sweep();
    }
}

void Loop::sweep() {
    while (returned_.linked()) {
        auto& task = static_cast<TaskBase&>(*returned_.after);
        task.leave();
        Scope& scope = *task.scope_;
        task.self_.destroy();
        scope.child_gone();
    }
}

// Who asks from inside waits for the next turn.
void Loop::run_turn_ends() {
    ++turn_end_;
    while (first_turn_end_ && first_turn_end_->asked_in_ != turn_end_) {
        TurnEnd& who = *first_turn_end_;
        forget(who);
        who.turn_end();
    }
}

void Loop::at_turn_end(TurnEnd& who) {
    if (std::exchange(who.queued_, true)) return;
    who.next_ = nullptr;
    (first_turn_end_ ? last_turn_end_->next_ : first_turn_end_) = &who;
    last_turn_end_ = &who;
    who.asked_in_ = turn_end_;
}

void Loop::forget(TurnEnd& who) {
    if (!std::exchange(who.queued_, false)) return;
    TurnEnd* before = nullptr;
    TurnEnd* at = first_turn_end_;
    while (at != &who) before = std::exchange(at, at->next_);
    (before ? before->next_ : first_turn_end_) = who.next_;
    if (last_turn_end_ == &who) last_turn_end_ = before;
}

void Loop::post_message(std::move_only_function<void()> message) {
    {
        std::lock_guard lock(mail_lock_);
        mail_.push_back(std::move(message));
        if (has_mail_.exchange(true, std::memory_order_acq_rel)) return;
    }
    driver_->wake();
}

void Loop::take_mail() {
    if (!has_mail_.load(std::memory_order_acquire)) return;
    std::vector<std::move_only_function<void()>> mail;
    {
        std::lock_guard lock(mail_lock_);
        mail.swap(mail_);
        has_mail_.store(false, std::memory_order_release);
    }
    for (auto& message : mail) message();
}

bool Loop::park(Wait& wait, TaskBase& task) {
    bool cancelled = task.scope_->cancelled();
    if (cancelled && wait.kind != Wait::Kind::join) return false;
    wait.task = &task;
    task.parked_at_ = &wait;
    task.parked_since_ms_ = turn_ms_;
    if (!cancelled) wait.join(task.scope_->waits_);
    return !cancelled;
}

bool Loop::begin(Op& op, TaskBase& task) {
    if (!park(op, task)) {
        op.result = -ECANCELED;
        return false;
    }
    driver_->submit(op);
    return true;
}

void Loop::wake_up(Wait& wait) {
    wait.leave();
    wait.task->parked_at_ = nullptr;
    ready_.push(wait.task->self_);
}

std::string Loop::parked() const {
    std::string out;
    for (const Link* at = alive_.after; at != &alive_; at = at->after) {
        const auto& task = static_cast<const TaskBase&>(*at);
        out += task.where_.function_name();
        out += ' ';
        out += task.where_.file_name();
        out += ':' + std::to_string(task.where_.line());
        if (const Wait* wait = task.parked_at_) {
            out += ' ';
            out += word(wait->kind);
            if (is_operation(wait->kind))
                out += " on " + std::to_string(static_cast<const Op*>(wait)->handle);
        } else {
            out += task.awaits_task_ ? " task" : " runs";
        }
        if (task.parked_at_ || task.awaits_task_) {
            out += ' ' + std::to_string(milliseconds(now()) - task.parked_since_ms_) + "ms";
        }
        out += '\n';
    }
    return out;
}

}  // namespace culvert::io
