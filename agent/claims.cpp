#include "agent/claims.h"

#include <algorithm>

namespace culvert::agent {

Verdict judge(const std::vector<Claim>& claims, const std::string& holder, bool holder_lives) {
    auto is_holder = [&](const Claim& one) { return one.pod == holder; };
    if (!holder.empty() && (holder_lives || std::ranges::any_of(claims, is_holder))) {
        bool claims_it = std::ranges::any_of(claims, is_holder);
        return {claims_it ? holder : std::string(), "its network namespace is captured as pod " + holder};
    }
    std::vector<std::string> wanting;
    for (const Claim& one : claims)
        if (one.wanted) wanting.push_back(one.pod);
    if (wanting.size() == 1) return {wanting[0], "its network namespace is that of pod " + wanting[0]};
    if (wanting.empty() && claims.size() == 1) return {claims[0].pod, {}};
    std::string all;
    for (const Claim& one : claims) all += (all.empty() ? "" : ", ") + one.pod;
    return {{}, "several pods name its network namespace: " + all};
}

}  // namespace culvert::agent
