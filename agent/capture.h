// Owns the kernel programs: loads them, pins maps and links, attaches, adopts what an earlier agent left with
// links updated in place and traffic running (kernel contract j, kernel fact 29). Everything stays when this
// object goes: only uninstall() and the steps of un-enrolment take anything away (decision 13).
//
// start() fails rather than capture without ztunnel's exemption, which would be an endless loop (kernel fact
// 16): the programs of ztunnel's group are attached first, the connect programs last.
//
// One thread. Bounds: CV_PODS_MAX pods, and per pod the limits of bpf/abi.h.
#pragma once
#include "agent/bpffs.h"
#include "agent/cgroup.h"
#include "agent/kernel.h"

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace culvert::agent {

struct CaptureOptions {
    std::uint64_t node_namespace = 0;  // netns cookie
    std::vector<std::uint64_t>
        pod_groups;  // below these, a socket of the node's namespace is not the node's (S7)
    bool probe_all_ports = false;
};

struct OutcomeCount {
    std::string_view word;
    bool refusal = false;
    std::uint64_t count = 0;
};

struct Refusal {
    std::string_view word;
    std::uint32_t pod = 0;
    Address source;
    Address destination;
};

class Capture final : public Kernel {
public:
    // `root` is what capture is attached to; `ztunnel` lies below it.
    static Result<std::unique_ptr<Capture>> start(PinDirectory pins, const Group& root, const Group& ztunnel,
                                                  const CaptureOptions& options);
    ~Capture() override;

    KernelFacts look(const Place& place, const Admission& wanted) override;
    Result<Done> admit(const Place& place, const Admission& wanted) override;
    Result<Done> steer(const Place& place, const Admission& wanted) override;
    Result<Done> capture(const Place& place, const Admission& wanted) override;
    Result<Sweep> sweep(const Place& place, bool destroy) override;
    Result<Done> release_capture(const Place& place) override;
    Result<Done> unsteer(const Place& place) override;
    Result<Done> release(const Place& place) override;
    std::vector<KnownPod> known() override;
    std::string name_of(std::uint64_t cookie) override;
    void forget(std::uint64_t cookie) override;

    // Every cgroup link is there, on its group, with the program that we ship. Otherwise the error names it.
    Result<Done> verify() const;
    std::vector<OutcomeCount> outcomes() const;

    // Readable when refusals wait. drain() hands over what is there, at most 1,000 a call.
    int refusals_fd() const;
    void drain(const std::function<void(const Refusal&)>& each);

private:
    struct Inside;
    explicit Capture(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

// Takes all of it away, in the reverse order of enrolment. Works without a running agent.
Result<Done> uninstall_capture(const PinDirectory& pins);

}  // namespace culvert::agent
