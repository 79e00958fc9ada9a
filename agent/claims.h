// Which pod may have a network namespace that several manifests name. Pure.
//
// Capturing one namespace for two pods would give one of them the other's identity, and a manifest that
// claims a namespace must not take it out of the mesh. So whoever the kernel's maps have it as keeps it; of
// several others that want it nobody gets it, each with the reason in status.
#pragma once
#include <string>
#include <vector>

namespace culvert::agent {

struct Claim {
    std::string pod;  // "namespace/name"
    bool wanted = false;
};

struct Verdict {
    std::string owner;   // empty: nobody
    std::string reason;  // for all others
};

// All claims of one namespace. `holder`: whom the kernel's maps have it as; empty: nobody. `holder_lives`:
// that pod still exists and has no other namespace.
Verdict judge(const std::vector<Claim>& claims, const std::string& holder, bool holder_lives);

}  // namespace culvert::agent
