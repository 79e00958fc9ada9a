#include "test/support/netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <thread>

namespace culvert::test {
namespace {

bool raise_loopback() {
    Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    return control.open() && ::ioctl(control.get(), SIOCSIFFLAGS, &request) == 0;
}

}  // namespace

std::optional<Fd> new_netns() {
    std::optional<Fd> made;
    std::thread([&made] {
        if (::unshare(CLONE_NEWNET) != 0 || !raise_loopback()) return;
        Fd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        if (fd.open()) made = std::move(fd);
    }).join();
    return made;
}

}  // namespace culvert::test
