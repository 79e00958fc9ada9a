// rtnetlink and sock_diag inside a pod's namespace: which addresses it has, when they change (S5), and its
// open TCP connections (S4). Sockets belong to the namespace they were made in; calls enter it, do their work
// without waiting for anybody but the kernel, and come back. One thread; replies are bounded by what the
// namespace holds.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace culvert::agent {

// Becomes readable when an address of the namespace comes or goes; read what it says with drain_events() and
// look again.
Result<Fd> watch_addresses(int netns);
void drain_events(int watch);
// Addresses of all interfaces but loopback.
Result<std::vector<Ip>> addresses_of(int netns);

Result<std::uint64_t> cookie_of(int netns);  // SO_NETNS_COOKIE: how the kernel programs know it

struct Connection {
    Address local;
    Address peer;
    std::uint64_t group = 0;  // cgroup id of the socket; 0: not said
};
struct Cut {
    std::uint64_t found = 0;
    std::uint64_t destroyed = 0;
};
// TCP connections in any state but LISTEN and TIME_WAIT for which `chosen` says so; with `destroy` their app
// gets ECONNABORTED and their peer a RST (kernel fact 25).
Result<Cut> cut_connections(int netns, bool destroy, const std::function<bool(const Connection&)>& chosen);

}  // namespace culvert::agent
