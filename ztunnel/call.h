// Runs something on another loop and waits here for what it returned. The one way in which control code and
// the loops of the data path speak to each other in both directions; none of it is on the path of a byte.
#pragma once
#include "lib/io/scope.h"
#include "lib/io/task.h"

#include <functional>
#include <memory>

namespace culvert::ztunnel {

// `work` runs on `there` even if the waiting task is cancelled meanwhile: what it refers to must outlive that
// loop's turn. Reason::cancelled if the wait was.
template <class T>
io::Task<Result<T>> call(io::Loop& here, io::Loop& there, std::move_only_function<Result<T>()> work) {
    struct Answer {
        explicit Answer(io::Loop& loop) : come(loop) {}
        io::Event come;
        Result<T> value = refuse(Reason::cancelled);
    };
    // Shared, because the answer may come after the caller has given up. The event stays on `here`: the last
    // owner is always a message to `here` or this frame.
    auto answer = std::make_shared<Answer>(here);
    there.post_message([&here, answer, work = std::move(work)]() mutable {
        here.post_message([answer = std::move(answer), value = work()]() mutable {
            answer->value = std::move(value);
            answer->come.set();
        });
    });
    CO_TRY_DONE(co_await answer->come.wait());
    co_return std::move(answer->value);
}

inline io::Task<void> and_then(io::Task<void> task, std::move_only_function<void()> then) {
    co_await task;
    then();
}

// The same for a task: `make()` is called on the loop of `there`, runs in that scope, and is waited for here.
inline io::Task<Result<Done>> run_there(io::Loop& here, io::Scope& there,
                                        std::move_only_function<io::Task<void>()> make) {
    auto ended = std::make_shared<io::Event>(here);
    there.loop().post_message([&here, &there, ended, make = std::move(make)]() mutable {
        auto tell = [&here, ended = std::move(ended)]() mutable {
            here.post_message([told = std::move(ended)] { told->set(); });
        };
        there.start(and_then(make(), std::move(tell)));
    });
    co_return co_await ended->wait();
}

}  // namespace culvert::ztunnel
