// Whether policy lets a connection in: wire facts. Pure; asked before the application is dialled,
// and again for every open connection when Directory::policy_version() changes.
//
// Fails closed where the reference fails open (deviations ): a policy that the workload names and
// nobody has sent refuses everything (policy_unknown); a malformed entry of a match never widens an ALLOW nor
// narrows a DENY.
#pragma once
#include "lib/base/ip.h"
#include "lib/base/reason.h"
#include "lib/mesh/directory.h"

#include <optional>
#include <string>

namespace culvert::mesh {

struct RbacConnection {
    Ip source;                         // the TCP peer; never what a header claims
    std::optional<Identity> identity;  // proven by mTLS, or none
    Address destination;               // as resolved: what would be dialled (I-5)
};

struct Judgement {
    bool allowed = false;
    Reason reason = Reason::none;  // policy_denied, policy_unknown, not_synced
    std::string
        policy;  // the key that decided: the DENY or ALLOW that matched, or the unknown one; else empty
    bool operator==(const Judgement&) const = default;
    // "explicitly denied by: ns/name", "allow policies exist, but none allowed", ...: access log and
    // errors.
    std::string text() const;
};

Judgement judge(const Directory& directory, const WorkloadRecord& destination,
                const RbacConnection& connection);

// One policy alone; `dry_run` is not looked at.
bool matches(const Policy& policy, const RbacConnection& connection);

}  // namespace culvert::mesh
