#include "controller/node_files.h"

#include "lib/base/log.h"
#include "lib/tls/state_directory.h"

#include <dirent.h>
#include <memory>
#include <unistd.h>

namespace culvert::controller {

Result<Done> NodeFiles::write(const std::string& node, WallTime now) {
    TRY_DONE(tls::StateDirectory::open(directory_));
    TRY(tls::StateDirectory own, tls::StateDirectory::open(directory_ + "/" + node));
    TRY_DONE(own.write("root-cert.pem", root_pem_, true));
    TRY(tls::SecretText token, key_.make(node, now));
    TRY_DONE(own.write("token", token.reveal(), true));
    written_[node] = now;
    return Done{};
}

void NodeFiles::remove(const std::string& node) const {
    const std::string path = directory_ + "/" + node;
    (void)::unlink((path + "/token").c_str());
    (void)::unlink((path + "/root-cert.pem").c_str());
    (void)::rmdir(path.c_str());
}

Result<Done> NodeFiles::refresh(const std::set<std::string, std::less<>>& nodes, WallTime now) {
    Result<Done> last = Done{};
    for (const std::string& node : nodes) {
        auto known = written_.find(node);
        if (known != written_.end() && now - known->second < tls::token_ttl / 2) continue;
        if (auto done = write(node, now); !done)
            last = std::move(done);
        else
            log::info("controller", "wrote the token of a node", {log::text("node", node)});
    }
    std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory_.c_str()), ::closedir);
    while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
        const std::string name(entry->d_name);
        if (name.starts_with('.') || nodes.contains(name)) continue;
        remove(name);
        written_.erase(name);
    }
    return last;
}

}  // namespace culvert::controller
