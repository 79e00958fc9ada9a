#include "agent/links.h"

#include "agent/os.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <charconv>

namespace culvert::agent {
namespace {

constexpr std::string_view lookup_prefix = "lookup-";

Result<Done> make_link(int program, int target, bpf_attach_type type, const std::string& where) {
    Fd link(::bpf_link_create(program, target, type, nullptr));
    if (!link.open()) return refuse_call("cannot attach " + where, errno);
    return pin(link.get(), where);
}

}  // namespace

std::string lookup_pin(std::uint64_t cookie) { return std::string(lookup_prefix) + std::to_string(cookie); }

std::optional<std::uint64_t> cookie_of_lookup_pin(const std::string& name) {
    if (!name.starts_with(lookup_prefix)) return std::nullopt;
    std::uint64_t cookie = 0;
    const char *first = name.data() + lookup_prefix.size(), *last = name.data() + name.size();
    auto [end, failed] = std::from_chars(first, last, cookie);
    if (failed != std::errc() || end != last) return std::nullopt;
    return cookie;
}

Result<LinkState> look_at_link(const std::string& pin) {
    TRY(Fd link, pinned(pin));
    bpf_link_info info{};
    __u32 size = sizeof info;
    if (::bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0)
        return refuse_call("cannot look at " + pin, errno);
    LinkState state;
    state.where = info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : info.netns.netns_ino;
    Fd program(::bpf_prog_get_fd_by_id(info.prog_id));
    if (!program.open()) return refuse_call("cannot look at the program of " + pin, errno);
    TRY(state.tag, tag_of(program.get()));
    return state;
}

Result<Done> update_link(const std::string& pin, int program) {
    TRY(Fd link, pinned(pin));
    if (::bpf_link_update(link.get(), program, nullptr) != 0)
        return refuse_call("cannot update " + pin, errno);
    return Done{};
}

Result<Done> attach_to_group(const bpf_program* program, const Group& group, const std::string& pin) {
    Result<LinkState> found = look_at_link(pin);
    if (!found && found.error().reason != Reason::closed) return refuse(std::move(found));
    if (found && found->where == group.id()) return update_link(pin, bpf_program__fd(program));
    if (found && found->where != 0) {
        return refuse(Reason::bad_configuration,
                      pin + " is attached to another cgroup than " + group.path() +
                          ": run `agent uninstall`, or start with the flags of before");
    }
    unpin(pin);  // what it was attached to is gone, or it was never there
    return make_link(bpf_program__fd(program), group.fd(), bpf_program__get_expected_attach_type(program),
                     pin);
}

Result<Done> attach_to_netns(int program, NetnsTarget target, const std::string& pin) {
    Result<LinkState> found = look_at_link(pin);
    if (!found && found.error().reason != Reason::closed) return refuse(std::move(found));
    if (found && found->where == target.inode) return update_link(pin, program);
    unpin(pin);
    return make_link(program, target.fd, BPF_SK_LOOKUP, pin);
}

void detach(const std::string& pin) {
    if (Result<Fd> link = pinned(pin)) (void)::bpf_link_detach(link->get());
    unpin(pin);
}

}  // namespace culvert::agent
