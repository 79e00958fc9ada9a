#include "lib/mesh/identity.h"

#include <array>

namespace culvert::mesh {

namespace {
constexpr std::string_view scheme = "spiffe://";
}

bool is_trust_domain(std::string_view text) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
    return !text.empty() && text.size() <= 255 && text.find_first_not_of(allowed) == text.npos;
}

std::optional<Identity> Identity::parse(std::string_view uri) {
    if (uri.size() > text_max || !uri.starts_with(scheme)) return std::nullopt;
    std::string_view rest = uri.substr(scheme.size());
    std::array<std::string_view, 5> pieces;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::size_t end = rest.find('/');
        bool last = i + 1 == pieces.size();
        if (last != (end == std::string_view::npos)) return std::nullopt;  // fewer or more than five pieces
        pieces[i] = rest.substr(0, end);
        if (pieces[i].empty()) return std::nullopt;
        if (!last) rest.remove_prefix(end + 1);
    }
    if (pieces[1] != "ns" || pieces[3] != "sa") return std::nullopt;
    return Identity{std::string(pieces[0]), std::string(pieces[2]), std::string(pieces[4])};
}

std::string Identity::principal() const {
    return trust_domain + "/ns/" + name_space + "/sa/" + service_account;
}

std::string Identity::to_string() const { return std::string(scheme) + principal(); }

}  // namespace culvert::mesh

std::size_t
std::hash<culvert::mesh::Identity>::operator()(const culvert::mesh::Identity& identity) const noexcept {
    std::hash<std::string_view> hash;
    std::size_t value = hash(identity.trust_domain);
    value = value * 31 + hash(identity.name_space);
    return value * 31 + hash(identity.service_account);
}
