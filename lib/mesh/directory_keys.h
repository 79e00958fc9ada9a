// The hashes under which the directory's tables keep their entries: shared by the snapshot, which looks them
// up, and by its writer. Internal to lib/mesh.
#pragma once
#include "lib/mesh/directory.h"

namespace culvert::mesh::keys {

inline std::uint64_t pair(std::string_view a, std::string_view b) { return hash_text(b, hash_text(a)); }

inline std::uint64_t address(std::string_view network, Ip ip) {
    const auto& bytes = ip.mapped();
    return pair(network, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// The address with all bits behind `length` cleared; `length` counts in the address's own family.
inline Ip masked(Ip ip, unsigned length) {
    auto bytes = ip.mapped();
    unsigned keep = length + (ip.is_v4() ? 96 : 0);
    for (unsigned i = 0; i < bytes.size(); ++i) {
        unsigned bits = keep > i * 8 ? std::min(keep - i * 8, 8U) : 0;
        bytes[i] &= std::byte(0xff00U >> bits);
    }
    return Ip::v6(bytes);
}

inline std::uint64_t range(std::string_view network, Ip ip, unsigned length) {
    return hash_text(std::to_string(length), address(network, masked(ip, length)));
}

// Policies by where they apply: one key for GLOBAL, one for each namespace.
inline std::uint64_t global_scope() { return hash_text("global"); }
inline std::uint64_t namespace_scope(std::string_view name_space) { return pair("namespace", name_space); }

}  // namespace culvert::mesh::keys
