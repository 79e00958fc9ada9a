// What a control port answers: a table of paths, and the routes that programs have in common: readiness,
// metrics, and who waits where.
//
// A handler is a coroutine on the port's loop: it may ask other loops and wait for them, and meanwhile that
// loop goes on. An error of a handler is 500 with its text; a path that is not in the table is 404,
// another method 405 with what is allowed.
#pragma once
#include "lib/h1/message.h"
#include "lib/io/task.h"

#include <functional>
#include <string>
#include <vector>

namespace culvert::control {

using Answer = io::Task<Result<h1::Response>>;

struct Route {
    std::string path;
    std::string allowed;                                // methods as Allow lists them; empty: any
    std::function<Answer(const h1::Request&)> handler;  // the request lives until it has answered
};
using Routes = std::vector<Route>;

inline const std::string reads = "GET, HEAD";

Answer answer(const Routes& routes, const h1::Request& request);

// What a handler returns that has nothing to wait for.
Answer at_once(h1::Response response);
// A body that has to be waited for.
Answer body_of(std::string content_type, io::Task<Result<std::string>> body);

// /healthz/ready: 200, or 500 with what `pending` names, sorted.
Route readiness(std::function<std::vector<std::string>()> pending);
// /metrics and /stats/prometheus: OpenMetrics text always, called so when the scraper lists it (M-1).
Routes metrics(std::function<std::string()> render);
// /debug/tasks: who is parked where, of every loop of the program.
Route tasks(std::function<io::Task<Result<std::string>>()> parked);

}  // namespace culvert::control
