#include "lib/io/netns.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace culvert::io {
namespace {

// The namespace that this thread comes back to: its own at the first time it leaves.
int home() {
    thread_local Fd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    return fd.get();
}

}  // namespace

Result<Fd> open_netns(const std::string& path) {
    // The path is of a manifest: a FIFO must not wait for its writer, nor a terminal become ours.
    Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd.open()) return refuse(Reason::bad_input, "cannot open " + path + ": " + std::strerror(errno));
    struct statfs about{};
    if (::fstatfs(fd.get(), &about) != 0 || about.f_type != NSFS_MAGIC) {
        return refuse(Reason::bad_input, path + " is no network namespace");
    }
    return fd;
}

Result<NetnsId> netns_id(int fd) {
    struct stat about{};
    if (::fstat(fd, &about) != 0) return refuse_os(errno);
    return NetnsId{about.st_dev, about.st_ino};
}

Result<NetnsGuard> NetnsGuard::enter(Namespace where) {
    if (where == own_namespace) return NetnsGuard(false);
    if (home() < 0) return refuse_os(errno);
    if (::setns(where.handle, CLONE_NEWNET) != 0) return refuse_os(errno);
    return NetnsGuard(true);
}

NetnsGuard::~NetnsGuard() {
    if (entered_ && ::setns(home(), CLONE_NEWNET) != 0) bug("cannot come back from a network namespace");
}

}  // namespace culvert::io
