// Where the kernel programs, maps and links are pinned, so that they outlive the agent (decision 13): a
// directory on a BPF file system. If it is not one, the agent mounts its own there.
//
//   DIR/v1/cv_pods ...        maps, one directory per layout version (kernel contract j)
//   DIR/links/cv_connect4 ... links of the cgroup programs, DIR/links/lookup-COOKIE one per pod; updated in
//   place
//
// A value: paths only. Any thread.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"

#include <string>
#include <vector>

namespace culvert::agent {

class PinDirectory {
public:
    static Result<PinDirectory> open(const std::string& path);  // mounts and makes what is missing
    static Result<PinDirectory> find(const std::string& path);  // closed if there is nothing of ours

    std::string map(const std::string& name) const { return maps_ + "/" + name; }
    std::string link(const std::string& name) const { return links_ + "/" + name; }
    std::vector<std::string> links() const;  // names
    std::vector<std::string> maps() const;
    // Directories of other layout versions, as paths: what an older or newer agent left.
    std::vector<std::string> other_versions() const;

    Result<Done> remove_all() const;  // every pin and directory; unmounts what open() mounted
    static void remove_directory(const std::string& path);

private:
    explicit PinDirectory(std::string path);
    std::string path_;
    std::string maps_;
    std::string links_;
};

// A pinned object as a descriptor. closed: there is none of that name.
Result<Fd> pinned(const std::string& path);
Result<Done> pin(int fd, const std::string& path);
void unpin(const std::string& path);

}  // namespace culvert::agent
