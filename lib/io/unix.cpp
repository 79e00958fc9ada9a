#include "lib/io/unix.h"

#include "lib/io/driver.h"

#include <cerrno>
#include <cstring>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::io {
namespace {

constexpr int backlog = 128;  // docs/limits.md: io.unix_backlog

int type_of(UnixKind kind) { return kind == UnixKind::stream ? SOCK_STREAM : SOCK_SEQPACKET; }

Result<sockaddr_un> name_of(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof name.sun_path) {
        return refuse(Reason::bad_configuration,
                      "the socket path '" + path + "' is empty or longer than 107 bytes");
    }
    std::memcpy(name.sun_path, path.data(), path.size());
    return name;
}

std::unexpected<Error> refuse_path(std::string_view what, const std::string& path, int number) {
    Error error = os_error(number);
    error.text = "cannot " + std::string(what) + " " + path + ": " + std::strerror(number);
    return std::unexpected(std::move(error));
}

int connect_now(const sockaddr_un& name, int type, Fd& fd) {
    fd = Fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.open()) return errno;
    return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ? 0 : errno;
}

// What another process left behind may go, what another process serves may not.
Result<Done> remove_stale(const std::string& path, const sockaddr_un& name, int type) {
    struct stat about{};
    if (::lstat(path.c_str(), &about) != 0) return Done{};
    if (!S_ISSOCK(about.st_mode)) return refuse(Reason::bad_configuration, path + " exists and is no socket");
    Fd probe;
    int error = connect_now(name, type, probe);
    if (error != ECONNREFUSED) return refuse_path("listen on", path, EADDRINUSE);
    if (::unlink(path.c_str()) != 0) return refuse_path("remove", path, errno);
    return Done{};
}

// The ring's receives need blocking descriptors, the connect above a non-blocking one.
Result<Fd> make_blocking(Fd fd) {
    int off = 0;
    if (::ioctl(fd.get(), FIONBIO, &off) != 0) return refuse_os(errno);
    return fd;
}

}  // namespace

Result<Fd> listen_unix(const std::string& path, mode_t mode, UnixKind kind) {
    TRY(sockaddr_un name, name_of(path));
    TRY_DONE(remove_stale(path, name, type_of(kind)));
    Fd fd(::socket(AF_UNIX, type_of(kind) | SOCK_CLOEXEC, 0));
    if (!fd.open()) return refuse_os(errno);
    // The mode of the descriptor, less the umask, becomes the file's: so it is never wider than asked, not
    // for a moment.
    if (::fchmod(fd.get(), mode) != 0) return refuse_path("set the mode of", path, errno);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
        return refuse_path("listen on", path, errno);
    }
    if (::chmod(path.c_str(), mode) != 0) return refuse_path("set the mode of", path, errno);
    if (::listen(fd.get(), backlog) != 0) return refuse_path("listen on", path, errno);
    return fd;
}

Result<Fd> dial_unix(const std::string& path, UnixKind kind) {
    TRY(sockaddr_un name, name_of(path));
    Fd fd;
    if (int error = connect_now(name, type_of(kind), fd)) return refuse_path("connect to", path, error);
    return make_blocking(std::move(fd));
}

}  // namespace culvert::io
