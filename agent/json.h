// Status as JSON: the one file of the agent that knows nlohmann-json. Pure.
#pragma once
#include "agent/precheck.h"
#include "agent/status.h"

#include <string>

namespace culvert::agent {

std::string to_json(const Status& status);

// {"ok": bool, "features": [{"name", "present": bool, "fix"}]}
std::string to_json(const std::vector<Feature>& features);

}  // namespace culvert::agent
