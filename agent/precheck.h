// What this machine must offer (decision 6), each with the fix. Run at start and by `agent precheck`. Looks,
// and changes nothing but a mount of a BPF file system that it takes away again.
#pragma once
#include <string>
#include <vector>

namespace culvert::agent {

struct Feature {
    std::string name;
    bool present = false;
    std::string fix;  // what to do when it is missing
};

std::vector<Feature> look_at_machine();
Feature look_at_capabilities();

}  // namespace culvert::agent
