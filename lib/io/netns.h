// Network namespaces by descriptor: open one, run something inside it, come back. Sockets made inside stay
// there, whatever the thread does next (wire fact C-2). Needs CAP_SYS_ADMIN for namespaces other than the
// process's own.
#pragma once
#include "lib/base/check.h"
#include "lib/base/fd.h"
#include "lib/base/result.h"
#include "lib/io/driver.h"

#include <string>

namespace culvert::io {

// Errors name the path and errno; a path that is no network namespace is bad_input.
Result<Fd> open_netns(const std::string& path);

// What tells one namespace from another, however it was opened (wire fact Z-6).
struct NetnsId {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    bool operator==(const NetnsId&) const = default;
};
Result<NetnsId> netns_id(int fd);

// Moves the calling thread into `where` until destroyed. Failing to come back would leave the loop in a pod's
// namespace: that stops the process.
class NetnsGuard {
public:
    static Result<NetnsGuard> enter(Namespace where);  // own_namespace: does nothing
    NetnsGuard(NetnsGuard&& other) noexcept : entered_(std::exchange(other.entered_, false)) {}
    NetnsGuard& operator=(NetnsGuard&&) = delete;
    ~NetnsGuard();

private:
    explicit NetnsGuard(bool entered) : entered_(entered) {}
    bool entered_;
};

// `make()`, which returns a Result and never waits, run inside `where`.
template <class F> auto inside(Namespace where, F&& make) -> decltype(make()) {
    TRY(NetnsGuard guard, NetnsGuard::enter(where));
    return make();
}

}  // namespace culvert::io
