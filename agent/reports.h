// Tells the controller who is enrolled (decision 9): a thread of its own with lib/xds's session over gRPC.
// The agent says what is true now; only differences go out. Bounded by the pods of the node.
//
// Made before anybody enters a pod's namespace: its threads inherit the namespaces of who made them.
#pragma once
#include "agent/settings.h"
#include "lib/base/result.h"

#include <map>
#include <memory>
#include <string>

namespace culvert::agent {

struct Enrolment {
    std::string uid;
    std::string name_space;
    std::string name;
    bool enrolled = false;
    std::string reason;  // why not
    bool operator==(const Enrolment&) const = default;
};

class Reports {
public:
    static Result<std::unique_ptr<Reports>> start(const Settings& settings);
    ~Reports();

    // All pods of the node, by "namespace/name".
    void say(std::map<std::string, Enrolment> now);
    bool in_sync() const;  // the controller has acknowledged everything; any thread

private:
    struct Inside;
    explicit Reports(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
    std::map<std::string, Enrolment> said_;
    bool started_ = false;
};

}  // namespace culvert::agent
