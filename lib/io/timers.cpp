// The loop's timers: a binary heap whose entries know their place, so that disarming one costs what arming it
// did.
#include "lib/io/loop.h"

namespace culvert::io {

void Loop::arm(Timer& who, Instant at) {
    disarm(who);
    timers_.push_back({});
    sift_up(timers_.size() - 1, {at, timer_order_++, &who});
}

void Loop::disarm(Timer& who) {
    if (!who.armed()) return;
    std::size_t hole = std::exchange(who.place_, Timer::nowhere);
    Due last = timers_.back();
    timers_.pop_back();
    if (hole == timers_.size()) return;
    sift_down(hole, last);
    sift_up(last.who->place_, last);
}

void Loop::fire_timers() {
    if (timers_.empty()) return;
    Instant now = clock().now();
    while (!timers_.empty() && timers_.front().at <= now) {
        Timer& who = *timers_.front().who;
        disarm(who);
        who.due();
    }
}

bool Loop::Due::before(const Due& other) const {
    return at != other.at ? at < other.at : order < other.order;
}

void Loop::place(std::size_t at, Due due) {
    timers_[at] = due;
    due.who->place_ = at;
}

void Loop::sift_up(std::size_t at, Due due) {
    while (at > 0 && due.before(timers_[(at - 1) / 2])) {
        place(at, timers_[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(at, due);
}

void Loop::sift_down(std::size_t at, Due due) {
    for (;;) {
        std::size_t child = 2 * at + 1;
        if (child >= timers_.size()) break;
        if (child + 1 < timers_.size() && timers_[child + 1].before(timers_[child])) ++child;
        if (!timers_[child].before(due)) break;
        place(at, timers_[child]);
        at = child;
    }
    place(at, due);
}

}  // namespace culvert::io
