// One pod on its way into the mesh or out of it: its namespace, its addresses, and the step it stands at.
// advance() takes one step after the other until it has to wait; what is true is read from the kernel and
// from ztunnel each time.
//
// Lives on the agent's loop. A pod holds one descriptor of its namespace and one netlink socket in it.
#pragma once
#include "agent/enrol.h"
#include "agent/kernel.h"
#include "agent/zds.h"
#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/io/netns.h"

#include <optional>
#include <string>

namespace culvert::agent {

struct ZtunnelAnswer {
    Ack ack = Ack::none;           // none: no ztunnel is connected
    std::string error;             // of a failed one
    std::uint64_t connection = 0;  // which ztunnel said so; 0: none
};

// The list that ztunnels are told, as the steps see it. Two implementations: ZdsServer, and a recording one
// in tests.
class Ztunnels {
public:
    virtual ~Ztunnels() = default;
    virtual void tell(const Workload& workload, int netns) = 0;  // `netns` stays open until untell()
    virtual void untell(const std::string& uid) = 0;
    virtual void ask_again(const std::string& uid) = 0;  // Del and Add: it opens its listeners anew
    virtual bool told(const std::string& uid) const = 0;
    virtual ZtunnelAnswer answer(const std::string& uid) const = 0;
};

enum class Sweeping : std::uint8_t {
    strict,
    always,
    never
};  // which connections from before are destroyed (S4)

// Waits between two Adds of a pod that ztunnel refused: 1 s, doubled, at most 30 s.
inline constexpr Duration first_retry = std::chrono::seconds(1);
inline constexpr Duration longest_retry = std::chrono::seconds(30);

struct Circumstances {
    Sweeping sweeping = Sweeping::strict;
    Instant time;
};

struct Pod {
    PodSpec spec;
    bool wanted = false;   // spec says member, and this namespace is still the pod's
    std::string uid;       // spec's, or made of the namespace (decision 14)
    std::string kept_out;  // why it may not have the namespace that it names; empty: it may
    Fd netns;
    io::NetnsId netns_id;
    std::uint64_t cookie = 0;
    Fd watch;               // addresses
    std::vector<Ip> found;  // addresses that the namespace really has

    // For status: what advance() saw last.
    Step step = Step::wait_for_namespace;
    PodFacts facts;
    KernelFacts kernel;
    std::string error;  // of the step that failed, or why it waits
    Sweep swept;
    std::uint64_t asked_connection = 0;  // the ztunnel that was asked again
    std::optional<Instant> retry_at;     // ztunnel refused it: when it is told again
    Duration retry_wait = first_retry;   // the next wait

    Place place() const { return {cookie, netns_id.inode, netns.get()}; }
    Admission admission() const;  // what of spec.ips is really there, as the maps should have it
    // Captured and steered in the kernel: whether ztunnel serves it is another question, and shown beside.
    bool enrolled() const { return wanted && step == Step::enrolled; }
    std::string why_outside() const;  // empty if enrolled and served
    // As if nobody had found its namespace yet. What is in the kernel stays.
    void forget_place();
};

// Opens the pod's namespace if it is there now. closed: not yet.
Result<Done> open_namespace(Pod& pod);
// Its path names another namespace by now, or none: the pod was replaced.
bool namespace_changed(const Pod& pod);
void read_addresses(Pod& pod);

PodFacts facts_of(Pod& pod, Kernel& kernel, const Ztunnels& ztunnels, const Circumstances& now);
// Until a step waits or fails. Returns the last one; pod.error says why it failed.
Step advance(Pod& pod, Kernel& kernel, Ztunnels& ztunnels, const Circumstances& now);

}  // namespace culvert::agent
