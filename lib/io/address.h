// Addresses between our form and the kernel's. Pure.
#pragma once
#include "lib/base/ip.h"
#include "lib/base/result.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace culvert::io {

// An address as the kernel wants it. IPv4 is AF_INET, except towards a dual-stack socket (`mapped`).
struct SocketAddress {
    union {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    };
    socklen_t size = 0;
};
SocketAddress to_system(Address address, bool mapped = false);
// Of what `from` begins: as long as its family has it. v4-mapped addresses become IPv4 (wire fact C-5).
// Refuses other families (EAFNOSUPPORT).
Result<Address> from_system(const sockaddr& from);
inline Result<Address> from_system(const sockaddr_storage& from) {
    return from_system(reinterpret_cast<const sockaddr&>(from));
}

}  // namespace culvert::io
