// The simulator's handshake (decision 23): three flights as TLS 1.3 has them, but identities are simply
// claimed and traffic secrets follow from two numbers that `random` gave, so that a seed reproduces every
// byte. Records stay real. What is refused, and when the other side learns of it, is as with OpenSSL: the
// server judges the client only after the client is done, and its alert travels under application keys.
//
// Credentials may be Credential::given ones. `random` outlives the maker.
#pragma once
#include "lib/base/random.h"
#include "lib/tls/handshake.h"

namespace culvert::test {

class GivenHandshakes final : public tls::HandshakeMaker {
public:
    explicit GivenHandshakes(Random& random) : random_(random) {}

    std::unique_ptr<tls::Handshake> client(std::shared_ptr<const tls::Credential> credential,
                                           std::vector<mesh::Identity> accepted, WallTime now) override;
    std::unique_ptr<tls::Handshake> server(std::shared_ptr<const tls::Credential> credential,
                                           WallTime now) override;

private:
    Random& random_;
};

}  // namespace culvert::test
