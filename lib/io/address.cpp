#include "lib/io/address.h"

#include "lib/io/driver.h"

#include <cerrno>
#include <cstring>

namespace culvert::io {

SocketAddress to_system(Address address, bool mapped) {
    SocketAddress out{};
    if (address.ip.is_v4() && !mapped) {
        out.v4 = {};
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(address.port);
        out.v4.sin_addr.s_addr = htonl(address.ip.v4_number());
        out.size = sizeof out.v4;
    } else {
        out.v6 = {};
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(address.port);
        std::memcpy(&out.v6.sin6_addr, address.ip.mapped().data(), 16);
        out.size = sizeof out.v6;
    }
    return out;
}

Result<Address> from_system(const sockaddr& from) {
    if (from.sa_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
        return Address{Ip::v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
    }
    if (from.sa_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
        return Address{*Ip::from_bytes(std::as_bytes(std::span(v6.sin6_addr.s6_addr))), ntohs(v6.sin6_port)};
    }
    return refuse_os(EAFNOSUPPORT);
}

}  // namespace culvert::io
