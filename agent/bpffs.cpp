#include "agent/bpffs.h"

#include "agent/os.h"
#include "bpf/abi.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <filesystem>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace culvert::agent {
namespace {

constexpr long bpf_fs_magic = 0xcafe4a11;  // linux/magic.h

bool is_bpffs(const std::string& path) {
    struct statfs about{};
    return ::statfs(path.c_str(), &about) == 0 && about.f_type == bpf_fs_magic;
}

// A mount point of its own, not a directory inside a larger BPF file system.
bool is_mount_point(const std::string& path) {
    struct stat self{}, parent{};
    if (::stat(path.c_str(), &self) != 0 || ::stat((path + "/..").c_str(), &parent) != 0) return false;
    return self.st_dev != parent.st_dev;
}

std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(path, failed))
        names.push_back(entry.path().filename().string());
    return names;
}

Result<Done> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return refuse_call("cannot make " + path, errno);
    return Done{};
}

Result<Done> mount_own(const std::string& path) {
    std::error_code failed;
    std::filesystem::create_directories(path, failed);
    if (failed) return refuse_call("cannot make " + path, failed.value());
    if (is_bpffs(path)) return Done{};  // the new directory stands inside one
    if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
        return refuse_call("cannot mount a BPF file system on " + path, errno);
    // Ours alone: namespaces that are made later do not get a copy that would keep pins alive.
    (void)::mount(nullptr, path.c_str(), nullptr, MS_PRIVATE, nullptr);
    return Done{};
}

std::string version_name() { return "v" + std::to_string(CV_ABI_VERSION); }

}  // namespace

PinDirectory::PinDirectory(std::string path)
    : path_(std::move(path)), maps_(path_ + "/" + version_name()), links_(path_ + "/links") {}

Result<PinDirectory> PinDirectory::open(const std::string& path) {
    PinDirectory directory(path);
    Result<Done> ready = is_bpffs(path) ? Done{} : mount_own(path);
    if (ready) ready = make_directory(directory.maps_);
    if (ready) ready = make_directory(directory.links_);
    if (!ready) return refuse(std::move(ready));
    return directory;
}

Result<PinDirectory> PinDirectory::find(const std::string& path) {
    PinDirectory directory(path);
    if (!is_bpffs(path) || ::access(directory.links_.c_str(), F_OK) != 0) return refuse(Reason::closed);
    return directory;
}

std::vector<std::string> PinDirectory::links() const { return names_in(links_); }
std::vector<std::string> PinDirectory::maps() const { return names_in(maps_); }

std::vector<std::string> PinDirectory::other_versions() const {
    std::vector<std::string> others;
    for (const std::string& name : names_in(path_))
        if (name.starts_with("v") && name != version_name()) others.push_back(path_ + "/" + name);
    return others;
}

void PinDirectory::remove_directory(const std::string& path) {
    for (const std::string& name : names_in(path)) ::unlink((path + "/" + name).c_str());
    ::rmdir(path.c_str());
}

Result<Done> PinDirectory::remove_all() const {
    remove_directory(links_);
    for (const std::string& other : other_versions()) remove_directory(other);
    remove_directory(maps_);
    if (is_mount_point(path_) && ::umount2(path_.c_str(), 0) != 0)
        return refuse_call("cannot unmount " + path_, errno);
    if (::rmdir(path_.c_str()) != 0 && errno != ENOENT) return refuse_call("cannot remove " + path_, errno);
    return Done{};
}

Result<Fd> pinned(const std::string& path) {
    Fd fd(::bpf_obj_get(path.c_str()));
    if (fd.open()) return fd;
    if (errno == ENOENT) return refuse(Reason::closed);
    return refuse_call("cannot open the pin " + path, errno);
}

Result<Done> pin(int fd, const std::string& path) {
    if (::bpf_obj_pin(fd, path.c_str()) != 0) return refuse_call("cannot pin " + path, errno);
    return Done{};
}

void unpin(const std::string& path) { ::unlink(path.c_str()); }

}  // namespace culvert::agent
