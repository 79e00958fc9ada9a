// Node tokens (decision 15): an ES256 JWT that says "the bearer is node NAME". Made and verified by the same
// controller with a key of its own in the state directory; nobody else reads them, so exactly one form is
// valid: our header byte for byte (there is no algorithm to choose) and our claims in our order. Times are
// the caller's clock.
//
// One per controller; make() and verify() are const and safe from several threads.
#pragma once
#include "lib/base/clock.h"
#include "lib/tls/key.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::tls {

constexpr std::chrono::seconds token_ttl = std::chrono::hours(12);
constexpr std::chrono::seconds token_leeway = std::chrono::seconds(60);  // between two clocks
constexpr std::size_t token_max = 2048;     // bytes; with the longest name about 620
constexpr std::size_t node_name_max = 253;  // a Kubernetes object name

// Whose token it says to be, for messages: nothing is verified. None when it is none of ours.
std::optional<std::string> node_of_unverified(std::string_view token);

struct NodeClaim {
    std::string node;
    WallTime expires;  // with the leeway: from then on it is rejected
};

class TokenKey {
public:
    // Loads token-key.pem (0600) from `directory`, or makes it there. Refuses as Authority::open does.
    static Result<TokenKey> open(const std::string& directory);

    // For the node of that name: a Kubernetes object name, else bad_input.
    Result<SecretText> make(std::string_view node, WallTime now, std::chrono::seconds ttl = token_ttl) const;

    // Whose token it is, and for how long. Refuses with token_rejected; the text says why and never holds the
    // token.
    Result<NodeClaim> claim(std::string_view token, WallTime now) const;
    Result<std::string> verify(std::string_view token, WallTime now) const;  // the node's name alone

private:
    TokenKey(PrivateKey key, std::string header);
    PrivateKey key_;
    std::string header_;  // base64url of {"alg":"ES256","kid":"<thumbprint>","typ":"JWT"}
};

}  // namespace culvert::tls
