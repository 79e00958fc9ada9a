// Groups of cgroup2: ztunnel's own, which is its identity towards the kernel programs (kernel contract a),
// and the one that capture is attached to. A group is known by its descriptor from the moment it is opened:
// paths vanish for whoever is started by `ip netns exec`, which remounts /sys (decision 7).
//
// Group is a resource with one owner. Any thread. Nothing here grows.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace culvert::agent {

// Where cgroup2 is mounted; missing_feature if it is not.
Result<std::string> cgroup2_mount();

class Group {
public:
    static Result<Group> open(const std::string& path);
    static Result<Group> make(const std::string& path);  // one level; fine if it exists

    int fd() const { return fd_.get(); }
    std::uint64_t id() const { return id_; }
    const std::string& path() const { return path_; }
    const std::string& name() const {
        return name_;
    }  // within the hierarchy, as /proc/PID/cgroup spells it: "/a/b"

    bool is_root() const { return name_ == "/"; }
    bool contains(const Group& other) const;  // itself too
    Result<Done> take(pid_t pid) const;  // moves a whole process; its sockets so far keep their old group
    Result<Done> remove() const;         // moves what is left inside to the parent, then goes

private:
    Group(Fd fd, std::uint64_t id, std::string path, std::string name)
        : fd_(std::move(fd)), id_(id), path_(std::move(path)), name_(std::move(name)) {}
    Fd fd_;
    std::uint64_t id_;
    std::string path_;
    std::string name_;
};

// The group of a process in cgroup2's hierarchy: "/" or "/a/b".
Result<std::string> group_of(pid_t pid);

}  // namespace culvert::agent
