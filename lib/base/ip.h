// IP addresses in one form for both families: 16 bytes, IPv4 as ::ffff:a.b.c.d (kernel fact 17: one code path
// serves all; wire fact C-5: v4-mapped addresses are canonicalised to IPv4 everywhere). Values: copyable,
// comparable, hashable.
#pragma once
#include "lib/base/bytes.h"

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace culvert {

class Ip {
public:
    Ip() = default;  // :: , "no address"
    static Ip v4(std::uint32_t host_order);
    static Ip v6(const std::array<std::byte, 16>& bytes) { return Ip(bytes); }
    // 4 or 16 bytes in network order, as WDS carries them (wire.md 5.3); other lengths are no address.
    static std::optional<Ip> from_bytes(ConstBytes bytes);
    static std::optional<Ip> parse(std::string_view text);  // "10.0.0.1", "fd00::1", "::ffff:10.0.0.1"

    bool is_v4() const;
    bool is_v6() const { return !is_v4(); }
    bool is_loopback() const;     // 127/8 or ::1
    bool is_unspecified() const;  // 0.0.0.0 or ::
    ConstBytes wire() const;      // 4 or 16 bytes in network order
    const std::array<std::byte, 16>& mapped() const { return bytes_; }
    std::uint32_t v4_number() const;  // host order; only for is_v4()
    std::string to_string() const;

    auto operator<=>(const Ip&) const = default;

private:
    explicit Ip(const std::array<std::byte, 16>& bytes) : bytes_(bytes) {}
    std::array<std::byte, 16> bytes_{};
};

// An IP and a TCP or UDP port (host order).
struct Address {
    Ip ip;
    std::uint16_t port = 0;

    static std::optional<Address>
    parse(std::string_view text);  // "10.0.0.1:80", "[fd00::1]:80"; the port is mandatory
    // As people write flags and variables: "localhost:80" and ":80" are 127.0.0.1:80, too.
    static std::optional<Address> parse_flag(std::string_view text);
    std::string to_string() const;  // the same form
    auto operator<=>(const Address&) const = default;
};

// A range of addresses. `length` counts bits of the address's own family: 0 to 32, or 0 to 128.
struct Cidr {
    Ip base;
    std::uint8_t length = 0;

    static std::optional<Cidr> parse(std::string_view text);  // "10.0.0.0/8"; without "/n": that one address
    static std::optional<Cidr> make(Ip base, std::uint32_t length);
    bool contains(Ip ip) const;  // an address of the other family is never inside
    bool single() const { return length == (base.is_v4() ? 32 : 128); }
    std::string to_string() const;
    auto operator<=>(const Cidr&) const = default;
};

}  // namespace culvert

template <> struct std::hash<culvert::Ip> {
    std::size_t operator()(const culvert::Ip& ip) const noexcept;
};
template <> struct std::hash<culvert::Address> {
    std::size_t operator()(const culvert::Address& address) const noexcept;
};
