// Asks a control port one question: what the command line and the agents of tests do. Lives on the caller's
// loop; a call takes at most `deadline`. Errors: connect_refused and the like with a text that names the
// address, timed_out, bad_request when the answer is no HTTP.
#pragma once
#include "lib/h1/message.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"

namespace culvert::control {

io::Task<Result<h1::Response>> fetch(io::Loop& loop, Address at, h1::Request request, Duration deadline);

// The same for a program that has nothing else to do: makes a loop, waits, and is done.
Result<h1::Response> fetch_blocking(Address at, h1::Request request, Duration deadline);

}  // namespace culvert::control
