#include "controller/occupancy.h"

#include "lib/tls/state_directory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace culvert::controller {
namespace {

// Who wrote it; only for people. Digits alone are believed.
std::string holder_of(int file) {
    std::array<char, 16> text{};
    const ssize_t got = ::pread(file, text.data(), text.size() - 1, 0);
    std::string pid(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    std::erase_if(pid, [](char c) { return c < '0' || c > '9'; });
    return pid.empty() ? "unknown" : pid;
}

}  // namespace

Result<Fd> occupy(const std::string& state_directory) {
    TRY_DONE(tls::StateDirectory::open(state_directory));  // ours, and nobody else's
    const std::string path = state_directory + "/controller.pid";
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!file.open())
        return refuse(Reason::bad_configuration, "cannot open " + path + ": " + std::strerror(errno));
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return refuse(Reason::bad_configuration, "cannot lock " + path + ": " + std::strerror(errno));
        return refuse(Reason::bad_configuration, "another controller (process " + holder_of(file.get()) +
                                                     ") uses " + state_directory +
                                                     ": stop it, or name another --state-dir");
    }
    const std::string pid = std::to_string(::getpid()) + "\n";
    // Its lack harms nothing: the lock is what counts.
    if (::ftruncate(file.get(), 0) == 0) (void)!::pwrite(file.get(), pid.data(), pid.size(), 0);
    return file;
}

}  // namespace culvert::controller
