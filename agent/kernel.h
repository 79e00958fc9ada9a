// What enrolment asks of the kernel, and what it is told about it: the seam between the order of steps
// (pods.h) and the programs and maps (capture.h). Two implementations: Capture, and a recording one in tests.
//
// Calls never wait; each is idempotent. Everything is read back from the kernel, nothing is remembered here.
#pragma once
#include "lib/base/ip.h"
#include "lib/base/result.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace culvert::agent {

// A pod's network namespace: how the kernel programs know it (cookie), how a link shows it (inode), and a way
// in.
struct Place {
    std::uint64_t cookie = 0;
    std::uint64_t inode = 0;
    int fd = -1;
};

// What the maps say of a pod. Unspecified addresses: none of that family.
struct Admission {
    std::string name;  // "namespace/name", for an agent that restarts
    Ip ip4;
    Ip ip6;
    std::set<std::uint16_t> probe_ports;
    bool dns = false;  // in force only while captured
    bool bypass_inbound = false;
    bool operator==(const Admission&) const = default;
};

struct KernelFacts {
    std::uint32_t id = 0;   // 0: not in the maps
    bool admitted = false;  // exactly as asked for
    bool steered = false;
    bool captured = false;
    bool swept = false;                 // connections from before were counted
    bool cut = false;                   // and destroyed
    bool any_lookup = false;            // something of ours is attached to the namespace, right or not
    std::set<std::uint32_t> announced;  // cv_role
};

struct Sweep {
    std::uint64_t found = 0;  // connections from before capture that leave the pod
    std::uint64_t destroyed = 0;
};

struct KnownPod {
    std::uint64_t cookie = 0;
    std::string name;    // empty: unknown
    bool alive = false;  // its namespace still exists, and sk_lookup is attached to it
};

class Kernel {
public:
    virtual ~Kernel() = default;
    virtual KernelFacts look(const Place& place, const Admission& wanted) = 0;
    virtual Result<Done> admit(const Place& place, const Admission& wanted) = 0;  // keeps capture as it is
    virtual Result<Done> steer(const Place& place, const Admission& wanted) = 0;
    virtual Result<Done> capture(const Place& place, const Admission& wanted) = 0;
    virtual Result<Sweep> sweep(const Place& place, bool destroy) = 0;
    virtual Result<Done> release_capture(const Place& place) = 0;
    virtual Result<Done> unsteer(const Place& place) = 0;
    virtual Result<Done> release(const Place& place) = 0;
    virtual std::vector<KnownPod> known() = 0;              // all that are in the maps
    virtual std::string name_of(std::uint64_t cookie) = 0;  // as whom; empty: it is not, or nobody knows
    virtual void forget(std::uint64_t cookie) = 0;  // un-enrols one whose namespace cannot be opened any more
};

}  // namespace culvert::agent
