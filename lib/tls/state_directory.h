// A directory that keeps secrets over restarts: the authority's root, the key of node tokens. For the
// controller, at start; blocking file I/O, on whichever thread. Everything is judged and written through the
// directory's descriptor, so that a path swapped meanwhile changes nothing.
//
// What others on the machine could read or write is refused rather than repaired: who made it so may have
// read it. Refusals: bad_configuration and permission, naming the path and the fix; io.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/result.h"
#include "lib/tls/secret.h"

#include <optional>
#include <string>

namespace culvert::tls {

constexpr std::size_t state_file_max = 64 * 1024;

class StateDirectory {
public:
    // Makes it (0700) when it is not there; its parent must exist. Holds a lock until destroyed, so that two
    // controllers that start at once do not both make a root.
    static Result<StateDirectory> open(const std::string& path);

    // None when there is no such file. `secret`: nobody else may read it.
    Result<std::optional<SecretText>> read(const std::string& name, bool secret,
                                           std::size_t bytes_max = state_file_max) const;

    // The whole file or nothing, on disk when this returns; 0600 when secret, else 0644.
    Result<Done> write(const std::string& name, std::string_view text, bool secret) const;

    std::string path_of(const std::string& name) const { return path_ + "/" + name; }

private:
    StateDirectory(std::string path, Fd directory)
        : path_(std::move(path)), directory_(std::move(directory)) {}
    std::string path_;
    Fd directory_;
};

}  // namespace culvert::tls
