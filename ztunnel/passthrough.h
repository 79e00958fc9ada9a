// Plaintext arrived at an enrolled pod (15006): policy judges it without an identity (I-12, I-13), so STRICT
// pods refuse it; what is allowed is joined to the app in plain TCP. Refusals reset the client's connection.
#pragma once
#include "lib/io/socket.h"
#include "lib/io/task.h"

namespace culvert::ztunnel {

class PodView;

io::Task<void> serve_passthrough(PodView& pod, io::Socket client);

}  // namespace culvert::ztunnel
