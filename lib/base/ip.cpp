#include "lib/base/ip.h"

#include <arpa/inet.h>

#include <charconv>

namespace culvert {
namespace {

constexpr std::size_t v4_at = 12;

std::optional<std::uint32_t> decimal(std::string_view text, std::uint32_t max) {
    std::uint32_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > max) return {};
    return value;
}

}  // namespace

Ip Ip::v4(std::uint32_t host_order) {
    Ip ip;
    ip.bytes_[10] = ip.bytes_[11] = std::byte{0xff};
    put_big_endian(ip.bytes_.data() + v4_at, host_order, 4);
    return ip;
}

std::optional<Ip> Ip::from_bytes(ConstBytes bytes) {
    if (bytes.size() == 4) return v4(static_cast<std::uint32_t>(get_big_endian(bytes.data(), 4)));
    if (bytes.size() != 16) return {};
    Ip ip;
    std::memcpy(ip.bytes_.data(), bytes.data(), 16);
    return ip;
}

std::optional<Ip> Ip::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN + 1> copy{};
    if (text.empty() || text.size() >= copy.size()) return {};
    std::memcpy(copy.data(), text.data(), text.size());
    std::array<std::byte, 16> out{};
    if (inet_pton(AF_INET, copy.data(), out.data()) == 1) return from_bytes(std::span(out).first(4));
    if (inet_pton(AF_INET6, copy.data(), out.data()) == 1) return from_bytes(out);
    return {};
}

bool Ip::is_v4() const {
    for (std::size_t i = 0; i < 10; ++i)
        if (bytes_[i] != std::byte{0}) return false;
    return bytes_[10] == std::byte{0xff} && bytes_[11] == std::byte{0xff};
}

bool Ip::is_loopback() const {
    if (is_v4()) return bytes_[v4_at] == std::byte{127};
    Ip one;
    one.bytes_[15] = std::byte{1};
    return *this == one;
}

bool Ip::is_unspecified() const { return *this == Ip() || *this == v4(0); }

ConstBytes Ip::wire() const { return is_v4() ? ConstBytes(bytes_).subspan(v4_at) : ConstBytes(bytes_); }

std::uint32_t Ip::v4_number() const {
    return static_cast<std::uint32_t>(get_big_endian(bytes_.data() + v4_at, 4));
}

std::string Ip::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(is_v4() ? AF_INET : AF_INET6, wire().data(), text.data(), text.size());
    return text.data();
}

std::optional<Address> Address::parse(std::string_view text) {
    std::string_view host, port;
    if (text.starts_with('[')) {
        auto close = text.find("]:");
        if (close == text.npos) return {};
        host = text.substr(1, close - 1);
        port = text.substr(close + 2);
        if (host.find(':') == host.npos) return {};
    } else {
        auto colon = text.find(':');
        if (colon == text.npos) return {};
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
    }
    auto ip = Ip::parse(host);
    auto number = decimal(port, 65535);
    if (!ip || !number) return {};
    return Address{*ip, static_cast<std::uint16_t>(*number)};
}

std::optional<Address> Address::parse_flag(std::string_view text) {
    std::string_view host = text.substr(0, text.find(':'));
    if (text.find(':') == text.npos || (!host.empty() && host != "localhost")) return parse(text);
    return parse("127.0.0.1" + std::string(text.substr(host.size())));
}

std::string Address::to_string() const {
    std::string host = ip.to_string();
    return (ip.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::optional<Cidr> Cidr::make(Ip base, std::uint32_t length) {
    if (length > (base.is_v4() ? 32u : 128u)) return {};
    return Cidr{base, static_cast<std::uint8_t>(length)};
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
    auto slash = text.find('/');
    auto ip = Ip::parse(text.substr(0, slash));
    if (!ip) return {};
    if (slash == text.npos) return make(*ip, ip->is_v4() ? 32 : 128);
    auto length = decimal(text.substr(slash + 1), 128);
    return length ? make(*ip, *length) : std::nullopt;
}

bool Cidr::contains(Ip ip) const {
    if (ip.is_v4() != base.is_v4()) return false;
    ConstBytes ours = base.wire(), theirs = ip.wire();
    std::size_t whole = length / 8, rest = length % 8;
    if (std::memcmp(ours.data(), theirs.data(), whole) != 0) return false;
    if (rest == 0) return true;
    auto mask = static_cast<std::byte>(0xff << (8 - rest));
    return ((ours[whole] ^ theirs[whole]) & mask) == std::byte{0};
}

std::string Cidr::to_string() const { return base.to_string() + "/" + std::to_string(length); }

}  // namespace culvert

std::size_t std::hash<culvert::Ip>::operator()(const culvert::Ip& ip) const noexcept {
    return std::hash<std::string_view>{}(culvert::as_text(ip.mapped()));
}
std::size_t std::hash<culvert::Address>::operator()(const culvert::Address& address) const noexcept {
    return std::hash<culvert::Ip>{}(address.ip) * 31 + address.port;
}
