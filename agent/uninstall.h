// Taking away what agents with these settings left behind: pins, cgroup, sockets, directories (decision 18).
// That opens the mesh: pods that were enrolled are in clear text afterwards. So an agent claims its run
// directory while it lives, and nothing is taken away from under it unless that is asked for.
//
// Blocking, for a program that does nothing else; one thread.
#pragma once
#include "agent/settings.h"
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <string>
#include <vector>

namespace culvert::agent {

// Held until it is closed; another process that claims it is refused (bad_configuration). A lock of the
// kernel on the directory itself: it ends with the process, however that ends, and leaves no file.
Result<Fd> claim_run_directory(const std::string& path);

// What was taken away, a line each; none: there was nothing.
Result<std::vector<std::string>> uninstall(const Settings& settings);

}  // namespace culvert::agent
