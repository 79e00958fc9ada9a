// One controller for one state directory: a second would replace the tokens and certificates under the
// first one's nodes. Held as a lock on a file in it for as long as the descriptor is open, so that a killed
// controller leaves nothing behind.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <string>

namespace culvert::controller {

// Makes the directory if it is not there. bad_configuration: another one runs; the text has its process id.
Result<Fd> occupy(const std::string& state_directory);

}  // namespace culvert::controller
