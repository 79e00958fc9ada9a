// A SPIFFE id of the one form that the mesh knows (wire fact H-11): spiffe://<trust
// domain>/ns/<namespace>/sa/<account>. A value without I/O; made by TLS from a certificate's URI SANs, by the
// directory from a workload, by policy for matching.
//
// Deviation: a piece that is empty, and a text longer than `text_max`, is no identity; the reference takes
// both (SPIFFE-ID 2.1 and 2.3 forbid them, and "" would be an account that policies cannot tell from "none").
#pragma once
#include <compare>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::mesh {

// SPIFFE-ID 2.1: lower-case letters, digits, dots, dashes and underscores; at most 255 characters.
bool is_trust_domain(std::string_view text);

struct Identity {
    static constexpr std::size_t text_max = 2048;  // SPIFFE-ID 2.3

    std::string trust_domain;
    std::string name_space;
    std::string service_account;

    // Of the whole URI; anything but H-11's form is none.
    static std::optional<Identity> parse(std::string_view uri);

    std::string to_string() const;  // "spiffe://td/ns/a/sa/b"
    std::string principal() const;  // "td/ns/a/sa/b": what policies compare

    auto operator<=>(const Identity&) const = default;
};

}  // namespace culvert::mesh

template <> struct std::hash<culvert::mesh::Identity> {
    std::size_t operator()(const culvert::mesh::Identity& identity) const noexcept;
};
