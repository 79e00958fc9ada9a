// What a node needs to call us, as files: STATE/nodes/NAME/{token,root-cert.pem} for every Node (decision
// 15), mode 0600 in directories of mode 0700, written whole. Tokens are renewed at half their life. Whoever
// sets a node up copies or mounts its directory. Blocking file I/O, on the graph's thread: a few milliseconds
// a node, once and then every six hours.
#pragma once
#include "lib/base/clock.h"
#include "lib/tls/token.h"

#include <map>
#include <set>
#include <string>

namespace culvert::controller {

class NodeFiles {
public:
    NodeFiles(std::string directory, const tls::TokenKey& key, std::string root_pem)
        : directory_(std::move(directory)), key_(key), root_pem_(std::move(root_pem)) {}

    // Writes what is missing or half over, and removes what belongs to no node. The error is the last one;
    // all nodes are tried.
    Result<Done> refresh(const std::set<std::string, std::less<>>& nodes, WallTime now);

private:
    Result<Done> write(const std::string& node, WallTime now);
    void remove(const std::string& node) const;

    std::string directory_;
    const tls::TokenKey& key_;
    std::string root_pem_;
    std::map<std::string, WallTime> written_;  // when each node's token was made
};

}  // namespace culvert::controller
