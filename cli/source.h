// Where the command line gets its facts: the control ports of the node it runs on and of the controller.
// Blocking; 5 s a question.
#pragma once
#include "cli/json.h"
#include "lib/base/ip.h"

namespace culvert::cli {

struct Ports {
    Address ztunnel;     // admin, 15000
    Address ready;       // ztunnel's readiness, 15021
    Address agent;       // 15019
    Address controller;  // 15014
};

// GET; another status than 200 is an error with its body.
Result<std::string> get(Address at, std::string_view path);
Result<Json> get_json(Address at, std::string_view path);

// Where the controller's status is: on the host that the agent reports to, if it says an address; else
// `otherwise`.
Address controller_beside(const Json& agent, Address otherwise);

}  // namespace culvert::cli
