#include "agent/privileges.h"

#include "agent/os.h"

#include <cerrno>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace culvert::agent {

Result<Done> keep_capabilities(std::span<const int> kept) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct had[2]{}, data[2]{};
    if (::syscall(SYS_capget, &header, had) != 0) return refuse_call("cannot read our capabilities", errno);
    for (int one : kept) {
        auto word = static_cast<std::size_t>(one / 32);
        __u32 bit = (1u << (one % 32)) & had[word].permitted;
        data[word].permitted |= bit;
        data[word].effective |= bit;
    }
    // First the bounding set, which needs SETPCAP; a number that the kernel does not know ends the list.
    for (int one = 0; ::prctl(PR_CAPBSET_READ, one, 0, 0, 0) >= 0; ++one) {
        bool stays = data[one / 32].permitted & (1u << (one % 32));
        if (!stays && (had[0].effective & (1u << CAP_SETPCAP))) (void)::prctl(PR_CAPBSET_DROP, one, 0, 0, 0);
    }
    (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);  // no program that it could start gets them back
    if (::syscall(SYS_capset, &header, data) != 0) return refuse_call("cannot drop capabilities", errno);
    return Done{};
}

Result<Done> drop_privileges(bool keep_ptrace) {
    std::vector<int> kept{CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN};
    if (keep_ptrace) kept.push_back(CAP_SYS_PTRACE);
    return keep_capabilities(kept);
}

}  // namespace culvert::agent
