// An executor that runs on a loop: the control side of a program in the simulator, where one thread is
// everybody. Made and destroyed on the loop's thread, after the loop has run what was posted.
#pragma once
#include "lib/io/loop.h"
#include "lib/xds/executor.h"

#include <memory>
#include <vector>

namespace culvert::xds {

class LoopExecutor final : public Executor {
public:
    explicit LoopExecutor(io::Loop& loop);
    ~LoopExecutor() override;
    void post(Work work) override;
    void after(Duration wait, Work work) override;
    const Clock& clock() const override { return loop_.clock(); }
    Random& random() override { return loop_.random(); }

private:
    struct Later;
    io::Loop& loop_;
    std::vector<std::unique_ptr<Later>> later_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace culvert::xds
