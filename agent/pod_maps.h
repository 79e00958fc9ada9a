// What the maps say of one pod: its entry by cookie, its slot and the three maps in it, its addresses, probe
// ports and ztunnel's listeners. Private to capture.cpp. Reads the kernel, remembers only which probe ports
// it wrote.
//
// Order inside matters: an entry appears last and goes first, so that no program ever finds half a pod. One
// thread.
#pragma once
#include "agent/kernel.h"
#include "agent/programs.h"
#include "bpf/abi.h"

#include <map>
#include <optional>

namespace culvert::agent {

// Bits of cv_pod.flags that only agents look at.
inline constexpr std::uint32_t pod_swept = 1u << 16;
inline constexpr std::uint32_t pod_cut = 1u << 18;     // and destroyed, not only counted
inline constexpr std::uint32_t pod_bypass = 1u << 17;  // its sk_lookup was loaded so

class PodMaps {
public:
    explicit PodMaps(const Programs& programs) : programs_(programs) {}

    std::optional<cv_pod> find(std::uint64_t cookie) const;
    std::vector<std::uint64_t> cookies() const;
    std::string name_of(std::uint64_t cookie) const;
    bool is_as_wanted(const cv_pod& pod, const Admission& wanted) const;
    std::set<std::uint32_t> announced(std::uint32_t id) const;

    Result<Done> write(std::uint64_t cookie, const Admission& wanted);
    Result<Done> set_flags(std::uint64_t cookie, std::uint32_t set, std::uint32_t clear);
    Result<Done> erase(std::uint64_t cookie);
    // A pod of another layout version, as it was: its connections go on being captured (kernel contract j).
    Result<Done> carry(std::uint64_t cookie, const cv_pod& pod);

private:
    Result<std::uint32_t> free_slot() const;
    Result<Done> fill_slot(std::uint32_t id) const;
    Result<Done> put(std::uint64_t cookie, const cv_pod& pod) const;
    Result<Done> write_ports(std::uint32_t id, const std::set<std::uint16_t>& ports);
    void write_name(std::uint64_t cookie, const std::string& text) const;
    void clear_ports(std::uint32_t id) const;
    void set_local(const cv_pod& pod, const __u8* ip) const;
    void clear_local(const __u8* ip, std::uint32_t id) const;
    void clear_listeners(std::uint32_t id) const;

    const Programs& programs_;
    std::map<std::uint32_t, std::set<std::uint16_t>>
        ports_;  // by slot: bounded by CV_PODS_MAX x CV_PROBE_PORTS_MAX
};

}  // namespace culvert::agent
