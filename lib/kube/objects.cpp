#include "lib/kube/objects.h"

#include <limits>
#include <tuple>

namespace culvert::kube {

std::string_view word(Kind kind) {
    switch (kind) {
    case Kind::name_space: return "Namespace";
    case Kind::node: return "Node";
    case Kind::pod: return "Pod";
    case Kind::service: return "Service";
    case Kind::endpoint_slice: return "EndpointSlice";
    case Kind::service_entry: return "ServiceEntry";
    case Kind::authorization_policy: return "AuthorizationPolicy";
    case Kind::peer_authentication: return "PeerAuthentication";
    }
    return "unknown";
}

std::string Key::to_string() const {
    std::string text(word(kind));
    text += ' ';
    if (!name_space.empty()) text += name_space + "/";
    return text + name;
}

const Metadata& metadata_of(const Object& object) {
    return std::visit([](const auto& one) -> const Metadata& { return one.metadata; }, object);
}

Key key_of(const Object& object) {
    const Metadata& metadata = metadata_of(object);
    return {kind_of(object), metadata.name_space, metadata.name};
}

bool selects(const Labels& selector, const Labels& labels) {
    for (const auto& [name, value] : selector) {
        auto found = labels.find(name);
        if (found == labels.end() || found->second != value) return false;
    }
    return true;
}

bool older(const Metadata& a, const Metadata& b) {
    constexpr auto youngest = std::numeric_limits<std::int64_t>::max();
    const auto age_a = a.created_s.value_or(youngest), age_b = b.created_s.value_or(youngest);
    return std::tie(age_a, a.origin, a.name_space, a.name) < std::tie(age_b, b.origin, b.name_space, b.name);
}

}  // namespace culvert::kube
