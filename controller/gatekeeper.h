// Who may call, and who gets which certificate: the controller's side of node tokens (decision 15) and of
// IstioCertificateService (wire facts CA-2 to CA-6).
//
// A caller is the node of its token, and the node must exist, also while its calls go on. It gets
// certificates for identities of its own pods and for nobody else; for itself it gets none. gRPC's threads
// call; everything here is const or locked. Signing is computation of well below a millisecond and is done at
// once.
#pragma once
#include "controller/mesh.h"
#include "controller/refusals.h"
#include "controller/residents.h"
#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/tls/authority.h"
#include "lib/tls/token.h"
#include "lib/xds/handlers.h"

namespace culvert::controller {

class Gatekeeper final : public xds::Authenticator, public xds::CaHandler {
public:
    struct Parts {
        const Mesh& mesh;
        const tls::Authority& authority;
        const tls::TokenKey& tokens;
        const Residents& residents;
        const Clock& clock;
        Refusals& refusals;
        Registry& metrics;
    };
    explicit Gatekeeper(Parts parts) : parts_(parts) {}
    ~Gatekeeper() = default;

    Result<xds::Caller> authenticate(xds::Presented presented) override;
    Result<Done> still(const xds::Caller& caller) override;
    void sign(const xds::Caller& caller, xds::SignRequest request, xds::SignAnswer answer) override;

private:
    Result<std::vector<std::string>> decide(const xds::Caller& caller, const xds::SignRequest& request) const;
    Parts parts_;
};

}  // namespace culvert::controller
