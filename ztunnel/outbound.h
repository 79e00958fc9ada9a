// An app of an enrolled pod connected (15001): where did it want to go, may it, how is it reached, carry it,
// say how it went. One coroutine per connection, in the scope of its pod; wire facts O-1 to O-12, H-20 to
// H-35.
//
// Refusals reset the app's connection and are one log line with a reason. Waits are bounded by Settings.
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class PodView;

io::Task<void> serve_outbound(PodView& pod, io::Socket app);

}  // namespace culvert::ztunnel
