#include "lib/tls/state_directory.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::tls {
namespace {

std::unexpected<Error> failed(const char* what, const std::string& path) {
    const int number = errno;
    const Reason reason = number == EACCES || number == EPERM ? Reason::permission : Reason::io;
    return std::unexpected(
        Error{reason, number, fmt::format("cannot {} {}: {}", what, path, strerror(number))});
}

// Owner is us, and nobody else has the bits of `forbidden`.
Result<Done> check_owner(const struct stat& status, const std::string& path, mode_t forbidden,
                         const char* fix) {
    if (status.st_uid != geteuid()) {
        return refuse(Reason::permission,
                      fmt::format("{} belongs to user {}, not to us (user {}): give it to us or use "
                                  "another state directory",
                                  path, status.st_uid, geteuid()));
    }
    if ((status.st_mode & forbidden) != 0) {
        return refuse(Reason::permission,
                      fmt::format("{} has mode {:04o}, so others may have seen or changed it: if that "
                                  "is harmless, chmod {} {}",
                                  path, status.st_mode & 07777, fix, path));
    }
    return Done{};
}

}  // namespace

Result<StateDirectory> StateDirectory::open(const std::string& path) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failed("make the state directory", path);
    Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!directory.open()) return failed("open the state directory", path);
    struct stat status{};
    if (fstat(directory.get(), &status) != 0) return failed("look at", path);
    TRY_DONE(check_owner(status, path, 0077, "0700"));
    if (flock(directory.get(), LOCK_EX) != 0) return failed("lock", path);
    return StateDirectory(path, std::move(directory));
}

Result<std::optional<SecretText>> StateDirectory::read(const std::string& name, bool secret,
                                                       std::size_t bytes_max) const {
    const std::string path = path_of(name);
    const Fd file(openat(directory_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file.open()) {
        if (errno == ENOENT) return std::nullopt;
        return failed("open", path);
    }
    struct stat status{};
    if (fstat(file.get(), &status) != 0) return failed("look at", path);
    if (!S_ISREG(status.st_mode)) return refuse(Reason::bad_configuration, path + " is not a file");
    TRY_DONE(check_owner(status, path, secret ? 0077 : 0022, secret ? "0600" : "0644"));
    if (static_cast<std::size_t>(status.st_size) > bytes_max) {
        return refuse(Reason::bad_configuration, fmt::format("{} has {} bytes, at most {} are sensible", path,
                                                             status.st_size, bytes_max));
    }
    std::string text(static_cast<std::size_t>(status.st_size),
                     '\0');  // files here are replaced, never changed
    std::size_t have = 0;
    while (have < text.size()) {
        const ssize_t got = ::read(file.get(), text.data() + have, text.size() - have);
        if (got < 0) return failed("read", path);
        if (got == 0) break;
        have += static_cast<std::size_t>(got);
    }
    text.resize(have);
    return SecretText(std::move(text));
}

Result<Done> StateDirectory::write(const std::string& name, std::string_view text, bool secret) const {
    const std::string path = path_of(name);
    const std::string draft = "." + name + ".new";
    if (unlinkat(directory_.get(), draft.c_str(), 0) != 0 && errno != ENOENT)
        return failed("remove", path_of(draft));
    const Fd file(
        openat(directory_.get(), draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.open()) return failed("make", path_of(draft));
    while (!text.empty()) {
        const ssize_t put = ::write(file.get(), text.data(), text.size());
        if (put <= 0) return failed("write", path_of(draft));
        text.remove_prefix(static_cast<std::size_t>(put));
    }
    if (!secret && fchmod(file.get(), 0644) != 0) return failed("chmod", path_of(draft));
    if (fsync(file.get()) != 0) return failed("sync", path_of(draft));
    if (renameat(directory_.get(), draft.c_str(), directory_.get(), name.c_str()) != 0)
        return failed("rename to", path);
    if (fsync(directory_.get()) != 0) return failed("sync", path_);
    return Done{};
}

}  // namespace culvert::tls
