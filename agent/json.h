// Status as JSON: the one file of the agent that knows nlohmann-json. Pure.
#pragma once
#include "agent/status.h"

#include <string>

namespace culvert::agent {

std::string to_json(const Status& status);

}  // namespace culvert::agent
