// Where control-side work runs: one thread at a time, with timers. A ThreadExecutor is a thread of its own
// (programs); a LoopExecutor runs on a loop (simulator); tests have one whose clock they turn by hand
// (test/support/manual_executor.h).
//
// post() may be called from any thread, all else only from the work itself. Work that outlives what it speaks
// about must notice: hold a weak_ptr and look. Queues hold what our own threads post, each bounded by what it
// reads.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/random.h"

#include <functional>
#include <memory>

namespace culvert::xds {

using Work = std::move_only_function<void()>;

class Executor {
public:
    virtual ~Executor() = default;
    virtual void post(Work work) = 0;  // runs later, in the order of posting
    virtual void after(Duration wait, Work work) = 0;
    virtual const Clock& clock() const = 0;
    virtual Random& random() = 0;
};

// Its thread starts in the constructor and inherits that thread's namespaces: make it before anybody enters a
// pod's.
class ThreadExecutor final : public Executor {
public:
    ThreadExecutor(const char* name, const Clock& clock);  // `name`: at most 15 letters, for ps and top
    ~ThreadExecutor() override;                            // finishes the running work, drops the rest, joins
    void post(Work work) override;
    void after(Duration wait, Work work) override;
    const Clock& clock() const override { return clock_; }
    Random& random() override { return random_; }
    void stop();  // as the destructor; idempotent, not from its own thread

private:
    struct State;
    const Clock& clock_;
    SeededRandom random_;
    std::unique_ptr<State> state_;
};

}  // namespace culvert::xds
