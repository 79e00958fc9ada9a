#include "agent/cgroup.h"

#include "agent/os.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace culvert::agent {
namespace {

std::string trimmed(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
}

Result<std::string> name_in_hierarchy(const std::string& path) {
    TRY(std::string mount, cgroup2_mount());
    if (path == mount) return std::string("/");
    if (!path.starts_with(mount + "/")) {
        return refuse(Reason::bad_configuration,
                      path + " is not below the cgroup2 mount " + mount + ": name a directory in there");
    }
    return path.substr(mount.size());
}

std::vector<pid_t> processes_in(int group) {
    std::vector<pid_t> found;
    Fd list(::openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC));
    if (!list.open()) return found;
    std::string text(64 << 10, '\0');
    ssize_t got = ::read(list.get(), text.data(), text.size());
    std::istringstream lines(text.substr(0, got > 0 ? static_cast<std::size_t>(got) : 0));
    for (pid_t pid = 0; lines >> pid;) found.push_back(pid);
    return found;
}

Result<Done> put_into(int group, pid_t pid) {
    Fd list(::openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC));
    std::string text = std::to_string(pid);
    if (!list.open() || ::write(list.get(), text.data(), text.size()) < 0)
        return refuse_call("cannot move process " + text + " to its group", errno);
    return Done{};
}

}  // namespace

Result<std::string> cgroup2_mount() {
    std::ifstream mounts("/proc/self/mounts");
    std::string device, where, type, rest;
    while (mounts >> device >> where >> type && std::getline(mounts, rest))
        if (type == "cgroup2") return where;
    return refuse(
        Reason::missing_feature,
        "cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified (no controllers are needed)");
}

Result<Group> Group::open(const std::string& given) {
    std::string path = trimmed(given);
    TRY(std::string name, name_in_hierarchy(path));
    Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat about{};
    if (!fd.open() || ::fstat(fd.get(), &about) != 0)
        return refuse_call("cannot open the cgroup " + path, errno);
    // A cgroup's id is the inode of its directory (kernel fact 16).
    return Group(std::move(fd), about.st_ino, path, name);
}

Result<Group> Group::make(const std::string& given) {
    std::string path = trimmed(given);
    TRY(std::string name, name_in_hierarchy(path));
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
        return refuse_call("cannot make the cgroup " + path, errno);
    return open(path);
}

bool Group::contains(const Group& other) const {
    return is_root() || other.name_ == name_ || other.name_.starts_with(name_ + "/");
}

Result<Done> Group::take(pid_t pid) const { return put_into(fd(), pid); }

Result<Done> Group::remove() const {
    Fd parent(::openat(fd(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (pid_t pid : processes_in(fd()))
        if (parent.open())
            (void)put_into(parent.get(), pid);  // it may have ended meanwhile; rmdir has the last word
    if (::rmdir(path_.c_str()) != 0 && errno != ENOENT)
        return refuse_call("cannot remove the cgroup " + path_, errno);
    return Done{};
}

Result<std::string> group_of(pid_t pid) {
    std::ifstream lines("/proc/" + std::to_string(pid) + "/cgroup");
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("0::")) return line.substr(3);
    return refuse(Reason::closed, "process " + std::to_string(pid) + " is gone");
}

}  // namespace culvert::agent
