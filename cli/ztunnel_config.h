// `culvert ztunnel-config`: what the node's ztunnel believes, as tables. Pure: configuration dump (wire fact
// A-5) in, text out.
#pragma once
#include "cli/json.h"

namespace culvert::cli {

std::string workload_table(const Json& dump);
std::string service_table(const Json& dump);
std::string policy_table(const Json& dump);
std::string certificate_table(const Json& dump);
std::string connection_table(const Json& dump);

}  // namespace culvert::cli
