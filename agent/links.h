// Attached programs, by the pin of their link: cgroup programs by their own name, a pod's sk_lookup as
// lookup-COOKIE. What is there is looked at in the kernel, then left, updated in place or replaced. Private
// to capture.cpp. One thread.
#pragma once
#include "agent/bpffs.h"
#include "agent/cgroup.h"
#include "agent/programs.h"

#include <cstdint>
#include <optional>
#include <string>

namespace culvert::agent {

struct LinkState {
    std::uint64_t where = 0;  // cgroup id, or inode of the namespace; 0: what it was attached to is gone
    Tag tag{};
};

// closed: no such pin.
Result<LinkState> look_at_link(const std::string& pin);

// Attaches `program` to `group` under that pin; a link of ours that is there already gets the new program in
// place, with traffic running. A link that is attached to another living group is an error: two captures
// would see one connect.
Result<Done> attach_to_group(const bpf_program* program, const Group& group, const std::string& pin);
struct NetnsTarget {
    int fd = -1;
    std::uint64_t inode = 0;
};
Result<Done> attach_to_netns(int program, NetnsTarget target, const std::string& pin);
Result<Done> update_link(const std::string& pin, int program);
// Detached at once: also where somebody else still holds the link.
void detach(const std::string& pin);

std::string lookup_pin(std::uint64_t cookie);
std::optional<std::uint64_t> cookie_of_lookup_pin(const std::string& name);

}  // namespace culvert::agent
