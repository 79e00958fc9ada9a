// Task<T>: a named coroutine, started by being awaited or by a Scope, resumed by the loop only. T is usually Result<...>.
// Frames come from the loop's pool. Awaiting an operation returns Reason::cancelled once the Scope that started the
// task was cancelled.
#pragma once
#include "lib/base/result.h"

namespace culvert::io {

template <class T> class [[nodiscard]] Task;

}  // namespace culvert::io
