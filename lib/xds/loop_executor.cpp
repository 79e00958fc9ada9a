#include "lib/xds/loop_executor.h"

namespace culvert::xds {

struct LoopExecutor::Later final : io::Timer {
    Later(LoopExecutor& owner, Work work) : owner(owner), work(std::move(work)) {}
    void due() override {
        // Timers may not run work themselves: the mailbox does, after which this one is gone.
        owner.post(std::move(work));
        std::erase_if(owner.later_, [this](const auto& each) { return each.get() == this; });
    }
    LoopExecutor& owner;
    Work work;
};

LoopExecutor::LoopExecutor(io::Loop& loop) : loop_(loop) {}

LoopExecutor::~LoopExecutor() {
    for (const auto& each : later_) loop_.disarm(*each);
}

void LoopExecutor::post(Work work) {
    loop_.post_message([alive = std::weak_ptr(alive_), work = std::move(work)]() mutable {
        if (alive.lock()) work();
    });
}

void LoopExecutor::after(Duration wait, Work work) {
    later_.push_back(std::make_unique<Later>(*this, std::move(work)));
    loop_.arm(*later_.back(), loop_.now() + wait);
}

}  // namespace culvert::xds
