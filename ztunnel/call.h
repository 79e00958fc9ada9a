// Runs something on another loop and waits here for what it returned. The one way in which control code and
// the loops of the data path speak to each other in both directions; none of it is on the path of a byte.
//
// What runs there goes on even if the waiting task is cancelled meanwhile: what it refers to must outlive
// that. Reason::cancelled if the wait was; Reason::limit if there was no memory to run it: it has not begun.
#pragma once
#include "lib/io/scope.h"
#include "lib/io/task.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace culvert::ztunnel {

// What somebody on another loop waits for. Shared, because it may come after the caller has given up. The
// event stays on the caller's loop: the last owner is always a message to that loop or the caller's frame.
template <class T> struct Told {
    explicit Told(io::Loop& loop) : here(loop), come(loop) {}
    io::Loop& here;
    io::Event come;
    Result<T> value = refuse(Reason::cancelled);
};

template <class T> void tell(std::shared_ptr<Told<T>> told, Result<T> value) {
    io::Loop& here = told->here;
    here.post_message([told = std::move(told), value = std::move(value)]() mutable {
        told->value = std::move(value);
        told->come.set();
    });
}

template <class T> io::Task<Result<T>> wait_for(std::shared_ptr<Told<T>> told) {
    CO_TRY_DONE(co_await told->come.wait());
    co_return std::move(told->value);
}

template <class T> io::Task<void> run_and_tell(std::shared_ptr<Told<T>> told, io::Task<Result<T>> task) {
    auto value = co_await task;
    tell(std::move(told), std::move(value));
}

// `work` runs on `there`, at once when called: the wait is for its answer only.
template <class T>
io::Task<Result<T>> call(io::Loop& here, io::Loop& there, std::move_only_function<Result<T>()> work) {
    auto told = std::make_shared<Told<T>>(here);
    there.post_message([told, work = std::move(work)]() mutable { tell(std::move(told), work()); });
    return wait_for(std::move(told));
}

// The same for a task: `make()` is called on the loop of `there` and its task runs in that scope.
template <class T>
io::Task<Result<T>> call_task(io::Loop& here, io::Scope& there,
                              std::move_only_function<io::Task<Result<T>>()> make) {
    auto told = std::make_shared<Told<T>>(here);
    there.loop().post_message([&there, told, make = std::move(make)]() mutable {
        if (!there.start(run_and_tell(told, make()))) tell<T>(std::move(told), refuse(Reason::limit));
    });
    return wait_for(std::move(told));
}

template <class T> io::Task<void> keep_answer(io::Task<Result<T>> question, std::optional<T>& answer) {
    auto said = co_await question;
    if (said) answer = *std::move(said);
}

// The answers to several calls that have been made; empty where there was none `most` from now.
template <class T>
io::Task<std::vector<std::optional<T>>> gather(io::Loop& here, Duration most,
                                               std::vector<io::Task<Result<T>>> questions) {
    std::vector<std::optional<T>> answers(questions.size());
    io::Scope waiting(here);
    io::Deadline deadline(here, waiting, most);
    for (std::size_t i = 0; i < questions.size(); ++i)
        if (!waiting.start(keep_answer(std::move(questions[i]), answers[i]))) break;  // no memory: no answer
    co_await waiting.join();
    co_return answers;
}

}  // namespace culvert::ztunnel
