// Runs tasks to their end from a test's body.
#pragma once
#include "lib/base/check.h"
#include "lib/io/scope.h"

#include <optional>

namespace culvert::test {

// tidy: a template's first line and its only await are one line
template <class T> io::Task<void> keep(std::optional<T>& out, io::Task<T> task) { out = co_await task; }

// What `task` returns, after everything on `loop` has come to rest.
template <class T> T run(io::Loop& loop, io::Task<T> task) {
    std::optional<T> out;
    io::Scope scope(loop);
    check(scope.start(keep(out, std::move(task))));
    loop.run_until_idle();
    check(scope.children() == 0 && out.has_value());
    return *std::move(out);
}

}  // namespace culvert::test
