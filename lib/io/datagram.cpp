#include "lib/io/datagram.h"

#include "lib/io/netns.h"
#include "lib/io/system.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace culvert::io {
namespace {

// Room for one address of either family in a control message.
struct Control {
    alignas(cmsghdr)
        std::array<std::byte, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo))> bytes{};
};

template <class T> T value_of(const cmsghdr* header) {
    T value;
    std::memcpy(&value, CMSG_DATA(header), sizeof value);
    return value;
}

Ip local_in(msghdr& message) {
    for (cmsghdr* at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_PKTINFO) {
            return Ip::v4(ntohl(value_of<in_pktinfo>(at).ipi_addr.s_addr));
        }
        if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) {
            auto info = value_of<in6_pktinfo>(at);
            return *Ip::from_bytes(std::as_bytes(std::span(info.ipi6_addr.s6_addr)));
        }
    }
    return {};
}

template <class T> void put_control(msghdr& message, Control& control, int level, int type, const T& value) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(sizeof value);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = level;
    header->cmsg_type = type;
    header->cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(CMSG_DATA(header), &value, sizeof value);
}

// An IPv6 socket takes the source as IPv6, mapped for IPv4 too.
void send_from(msghdr& message, Control& control, Ip local, bool v6) {
    if (local.is_unspecified()) return;
    if (v6) {
        in6_pktinfo info{};
        std::memcpy(&info.ipi6_addr, local.mapped().data(), sizeof info.ipi6_addr);
        put_control(message, control, IPPROTO_IPV6, IPV6_PKTINFO, info);
    } else {
        in_pktinfo info{};
        info.ipi_spec_dst.s_addr = htonl(local.v4_number());
        put_control(message, control, IPPROTO_IP, IP_PKTINFO, info);
    }
}

Result<Done> sent(ssize_t result) {
    if (result < 0 && errno != EAGAIN) return refuse_os(errno);
    return Done{};
}

}  // namespace

Result<Datagram> Datagram::open(Loop& loop, Namespace where, Address at, const DatagramOptions& options) {
    TRY(Fd fd, new_socket(where, at.ip, SOCK_DGRAM));
    Setup setup(fd.get());
    setup.dual_stack(at.ip).mark(options.mark).option(IPPROTO_IP, IP_PKTINFO, 1);
    if (!at.ip.is_v4()) setup.option(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    if (options.reuse_port) setup.option(SOL_SOCKET, SO_REUSEPORT, 1);
    setup.role(options.role).bind(at);
    if (setup.error()) return refuse_address("bind UDP", at, setup.error());
    return Datagram(loop, std::move(fd), !at.ip.is_v4());
}

Result<Datagram> Datagram::dial(Loop& loop, Namespace where, Address to, std::uint32_t mark) {
    TRY(Fd fd, new_socket(where, to.ip, SOCK_DGRAM));
    TRY_DONE(Setup(fd.get()).mark(mark).done());
    SocketAddress name = to_system(to);
    if (::connect(fd.get(), &name.any, name.size) != 0) return refuse_os(errno);
    return Datagram(loop, std::move(fd), !to.ip.is_v4());
}

Result<Datagram::Packet> Datagram::try_receive(Bytes buffer) {
    sockaddr_storage from{};
    iovec vector{buffer.data(), buffer.size()};
    Control control;
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    ssize_t got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (got < 0) return refuse_os(errno);
    TRY(Address sender, from_system(from));
    bool truncated = (message.msg_flags & MSG_TRUNC) != 0;
    return Packet{buffer.first(static_cast<std::size_t>(got)), sender, local_in(message), truncated};
}

Result<Done> Datagram::try_send(ConstBytes bytes, Address to, Ip local) {
    SocketAddress name = to_system(to, v6_);
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    Control control;
    msghdr message{};
    message.msg_name = &name.any;
    message.msg_namelen = name.size;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    send_from(message, control, local, v6_);
    return sent(::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

Result<Done> Datagram::try_send(ConstBytes bytes) {
    return sent(::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

Result<Address> Datagram::local() const { return local_of(fd_.get()); }

}  // namespace culvert::io
