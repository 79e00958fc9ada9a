#include "controller/gatekeeper.h"

namespace culvert::controller {

Result<xds::Caller> Gatekeeper::authenticate(xds::Presented presented) {
    auto judge = [&]() -> Result<xds::Caller> {
        if (presented.bearer.empty()) return refuse(Reason::token_rejected, "no token was sent");
        TRY(tls::NodeClaim claim, parts_.tokens.claim(presented.bearer, parts_.clock.wall()));
        xds::Caller out{std::move(claim.node), std::string(presented.peer), claim.expires};
        TRY_DONE(still(out));
        return out;
    };
    Result<xds::Caller> caller = judge();
    if (!caller) parts_.refusals.count(caller.error(), "a caller at " + std::string(presented.peer));
    return caller;
}

Result<Done> Gatekeeper::still(const xds::Caller& caller) {
    if (parts_.clock.wall() >= caller.expires)
        return refuse(Reason::token_rejected, "the token of node " + caller.node + " has expired");
    if (!parts_.residents.knows(caller.node))
        return refuse(Reason::token_rejected, "node " + caller.node + " does not exist");
    return Done{};
}

// In this order, so that what an unauthorised caller learns is only that it is one.
Result<std::vector<std::string>> Gatekeeper::decide(const xds::Caller& caller,
                                                    const xds::SignRequest& request) const {
    if (request.impersonate.empty())
        return refuse(Reason::ca_rejected,
                      "a node has no certificate of its own: name an identity of one of its pods");
    const auto identity = mesh::Identity::parse(request.impersonate);
    if (!identity) return refuse(Reason::tls_identity, "the asked identity is no SPIFFE id of a mesh");
    if (identity->trust_domain != parts_.mesh.trust_domain)
        return refuse(Reason::tls_identity, "the asked identity is of another trust domain");
    if (!parts_.residents.lives_on(caller.node, {identity->name_space, identity->service_account}))
        return refuse(Reason::ca_rejected, "no pod with the asked identity is on the caller's node");
    TRY(tls::Csr csr, tls::Csr::parse(request.csr));
    if (csr.identity() != *identity)
        return refuse(Reason::tls_identity,
                      "the request names " + csr.identity().to_string() + ", not what was asked for");
    TRY(tls::Authority::Signed made, parts_.authority.sign(csr, request.ttl, parts_.clock.wall()));
    return std::move(made.chain);
}

void Gatekeeper::sign(const xds::Caller& caller, xds::SignRequest request, xds::SignAnswer answer) {
    auto chain = decide(caller, request);
    if (chain)
        parts_.metrics.counter("culvert_ca_signed", "Certificates that the controller signed").add();
    else
        parts_.refusals.count(chain.error(), "a certificate for " + request.impersonate.substr(0, 256) +
                                                 " to node " + caller.node + " at " + caller.peer);
    answer(std::move(chain));
}

}  // namespace culvert::controller
