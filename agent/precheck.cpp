#include "agent/precheck.h"

#include "agent/cgroup.h"
#include "lib/base/fd.h"
#include "lib/io/uring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstdio>
#include <fstream>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace culvert::agent {
namespace {

bool kernel_is_at_least(int major, int minor) {
    utsname name{};
    int have_major = 0, have_minor = 0;
    if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &have_major, &have_minor) != 2)
        return false;
    return have_major > major || (have_major == major && have_minor >= minor);
}

bool has_file_system(const std::string& wanted) {
    std::ifstream lines("/proc/filesystems");
    for (std::string word; lines >> word;)
        if (word == wanted) return true;
    return false;
}

bool has_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    if (::syscall(SYS_capget, &header, data) != 0) return false;
    for (int wanted : {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN})
        if (!(data[wanted / 32].effective & (1u << (wanted % 32)))) return false;
    return true;
}

bool has_program_type(bpf_prog_type type) { return libbpf_probe_bpf_prog_type(type, nullptr) == 1; }

}  // namespace

Feature look_at_capabilities() {
    return {"capabilities BPF, PERFMON, NET_ADMIN, SYS_ADMIN", has_capabilities(),
            "run as root, or give them to the process (systemd: AmbientCapabilities=)"};
}

std::vector<Feature> look_at_machine() {
    Feature capabilities = look_at_capabilities();
    bool may_ask = capabilities.present;
    std::vector<Feature> all;
    all.push_back({"kernel 6.1 or newer", kernel_is_at_least(6, 1), "boot a newer kernel"});
    all.push_back(std::move(capabilities));
    all.push_back({"BTF of the kernel (/sys/kernel/btf/vmlinux)",
                   ::access("/sys/kernel/btf/vmlinux", R_OK) == 0,
                   "use a kernel built with CONFIG_DEBUG_INFO_BTF=y"});
    all.push_back({"cgroup2", cgroup2_mount().has_value(),
                   "mount -t cgroup2 none /sys/fs/cgroup/unified (no controllers are needed)"});
    all.push_back(
        {"BPF file system", has_file_system("bpf"), "use a kernel built with CONFIG_BPF_SYSCALL=y"});
    all.push_back({"io_uring", io::make_uring({.buffers = 2, .buffer_size = 4096}).has_value(),
                   "sysctl kernel.io_uring_disabled=0, and no seccomp filter against it"});
    if (!may_ask) return all;  // the kernel would refuse the questions below whatever it can do
    all.push_back({"BPF sk_lookup programs", has_program_type(BPF_PROG_TYPE_SK_LOOKUP),
                   "use a kernel built with CONFIG_BPF_SYSCALL=y and CONFIG_INET=y"});
    all.push_back(
        {"BPF cgroup socket programs",
         has_program_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR) && has_program_type(BPF_PROG_TYPE_CGROUP_SOCKOPT),
         "use a kernel built with CONFIG_CGROUP_BPF=y"});
    all.push_back({"BPF socket storage", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) == 1,
                   "use a kernel built with CONFIG_NET=y and CONFIG_BPF_SYSCALL=y"});
    return all;
}

}  // namespace culvert::agent
