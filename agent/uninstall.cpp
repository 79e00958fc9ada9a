#include "agent/uninstall.h"

#include "agent/bpffs.h"
#include "agent/capture.h"
#include "agent/cgroup.h"
#include "agent/links.h"
#include "agent/os.h"
#include "bpf/abi.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace culvert::agent {
namespace {

// "shop/db", as the agent wrote it beside the pod's entry.
std::string name_of(const Fd& names, std::uint64_t cookie) {
    cv_name name{};
    if (!names.open() || ::bpf_map_lookup_elem(names.get(), &cookie, &name) != 0) return {};
    auto text = reinterpret_cast<const char*>(name.text);
    return std::string(text, ::strnlen(text, sizeof name.text));
}

std::vector<std::string> captured_pods(const PinDirectory& pins) {
    Fd names(::bpf_obj_get(pins.map("cv_names").c_str()));
    std::vector<std::string> out;
    for (const std::string& pin : pins.links()) {
        std::optional<std::uint64_t> cookie = cookie_of_lookup_pin(pin);
        if (!cookie) continue;
        std::string name = name_of(names, *cookie);
        out.push_back(name.empty() ? "network namespace " + std::to_string(*cookie) : "pod " + name);
    }
    return out;
}

Result<Done> release_pods(const Settings& settings, std::vector<std::string>& gone) {
    Result<PinDirectory> pins = PinDirectory::find(settings.bpffs);
    if (!pins && pins.error().reason == Reason::closed) return Done{};
    if (!pins) return refuse(std::move(pins));
    for (const std::string& pod : captured_pods(*pins))
        gone.push_back("released " + pod + ": it is in clear text now");
    std::size_t count = pins->links().size() + pins->maps().size();
    TRY_DONE(uninstall_capture(*pins));
    gone.push_back("removed " + settings.bpffs + " with " + std::to_string(count) + " pinned links and maps");
    return Done{};
}

Result<Done> remove_group(const Settings& settings, std::vector<std::string>& gone) {
    std::string root = settings.capture_group;
    if (root.empty()) {
        TRY(root, cgroup2_mount());
    }
    std::string path = settings.ztunnel_group.empty() ? root + "/culvert-ztunnel" : settings.ztunnel_group;
    Result<Group> group = Group::open(path);
    if (!group) return Done{};
    TRY_DONE(group->remove());
    gone.push_back("removed the cgroup " + path);
    return Done{};
}

}  // namespace

Result<Fd> claim_run_directory(const std::string& path) {
    Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.open()) return refuse_call("cannot open " + path, errno);
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return directory;
    if (errno != EWOULDBLOCK) return refuse_call("cannot claim " + path, errno);
    return refuse(Reason::bad_configuration, "an agent runs on " + path);
}

Result<std::vector<std::string>> uninstall(const Settings& settings) {
    Fd claim;
    if (::access(settings.run_directory.c_str(), F_OK) == 0) {
        Result<Fd> claimed = claim_run_directory(settings.run_directory);
        if (!claimed && !settings.force)
            return refuse(Reason::bad_configuration,
                          claimed.error().text +
                              ": end it first, then its pods can be released (--force: release them now)");
        if (claimed) claim = std::move(*claimed);
    }
    std::vector<std::string> gone;
    TRY_DONE(release_pods(settings, gone));
    TRY_DONE(remove_group(settings, gone));
    if (::unlink(settings.zds_path.c_str()) == 0) gone.push_back("removed the socket " + settings.zds_path);
    // Stays if somebody else keeps something there.
    if (::rmdir(settings.run_directory.c_str()) == 0) gone.push_back("removed " + settings.run_directory);
    return gone;
}

}  // namespace culvert::agent
