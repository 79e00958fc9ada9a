// Whether a connection that reached a pod may go on to its application, and where to: wire facts I-7 to I-12
// and H-26. Pure. Policy is a question of its own (rbac.h), asked after this one with what comes out here
// (I-5), and before anything is dialled.
#pragma once
#include "lib/base/result.h"
#include "lib/mesh/decide.h"
#include "lib/mesh/headers.h"

#include <string_view>

namespace culvert::mesh {

struct InboundRequest {
    const WorkloadRecord& local;  // the pod whose listener accepted
    Address accepted;             // the address that the connection was accepted on
    Authority authority;
    std::string_view forwarded_host;  // "" if there was none (H-23): which service to report
};

// Admitted: a CONNECT is answered 200 once the application is connected.
struct Inbound {
    Address dial;        // the application; always on the accepted address (I-8)
    ServicePtr service;  // for labels and logs (M-6), or null
};

// A CONNECT on 15008. Its refusals, as all that come later, are answered with connect_status().
Result<Inbound> admit(const Directory& directory, const Surroundings& around, const InboundRequest& request);

// Plaintext on 15006 (I-12): `dial` is the original destination.
Result<Inbound> admit_plaintext(const Directory& directory, const Surroundings& around,
                                const WorkloadRecord& local, Address original_destination);

// What a refused CONNECT is told (H-26): asked wrongly 400, policy 401, all else 503.
int connect_status(Reason reason);

}  // namespace culvert::mesh
