#include "lib/xds/loop_worker.h"

namespace culvert::xds {

struct LoopWorker::Later final : io::Timer {
    Later(LoopWorker& owner, Work work) : owner(owner), work(std::move(work)) {}
    void due() override {
        // Timers may not run work themselves: the mailbox does, after which this one is gone.
        owner.post(std::move(work));
        std::erase_if(owner.later_, [this](const auto& each) { return each.get() == this; });
    }
    LoopWorker& owner;
    Work work;
};

LoopWorker::LoopWorker(io::Loop& loop) : loop_(loop) {}

LoopWorker::~LoopWorker() {
    for (const auto& each : later_) loop_.disarm(*each);
}

void LoopWorker::post(Work work) {
    loop_.post_message([alive = std::weak_ptr(alive_), work = std::move(work)]() mutable {
        if (alive.lock()) work();
    });
}

void LoopWorker::after(Duration wait, Work work) {
    later_.push_back(std::make_unique<Later>(*this, std::move(work)));
    loop_.arm(*later_.back(), loop_.now() + wait);
}

}  // namespace culvert::xds
