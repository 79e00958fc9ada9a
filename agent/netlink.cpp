#include "agent/netlink.h"

#include "agent/os.h"
#include "lib/io/netns.h"

#include <cerrno>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace culvert::agent {
namespace {

constexpr int so_netns_cookie = 71;  // asm-generic/socket.h since 5.14; Debian 12's libc does not name it

Result<Fd> netlink(int netns, int protocol, std::uint32_t groups) {
    return io::inside(io::Namespace{netns}, [&]() -> Result<Fd> {
        Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
        sockaddr_nl address{};
        address.nl_family = AF_NETLINK;
        address.nl_groups = groups;
        if (!fd.open() || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return refuse_call("cannot open netlink in a pod's namespace", errno);
        return fd;
    });
}

template <class Body> struct Message {
    nlmsghdr head{};
    Body body{};
};

template <class Body> Result<Done> say(int fd, Message<Body>& message, int type, int flags) {
    message.head.nlmsg_len = sizeof message;
    message.head.nlmsg_type = static_cast<__u16>(type);
    message.head.nlmsg_flags = static_cast<__u16>(NLM_F_REQUEST | flags);
    if (::send(fd, &message, sizeof message, 0) < 0) return refuse_call("cannot ask netlink", errno);
    return Done{};
}

// Hands every message of a dump to `each`.
Result<Done> read_dump(int fd, const std::function<void(const nlmsghdr&)>& each) {
    std::vector<char> buffer(64 << 10);
    for (;;) {
        ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return refuse_call("netlink did not answer", errno);
        auto left = static_cast<unsigned>(got);
        for (auto* head = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(head, left);
             head = NLMSG_NEXT(head, left)) {
            if (head->nlmsg_type == NLMSG_DONE) return Done{};
            if (head->nlmsg_type == NLMSG_ERROR)
                return refuse_call("netlink refuses", -static_cast<nlmsgerr*>(NLMSG_DATA(head))->error);
            each(*head);
        }
    }
}

Ip ip_of(int family, const void* bytes) {
    auto at = static_cast<const std::byte*>(bytes);
    return Ip::from_bytes(ConstBytes(at, family == AF_INET ? 4 : 16)).value_or(Ip());
}

void collect_address(const nlmsghdr& head, std::vector<Ip>& to) {
    auto* about = static_cast<const ifaddrmsg*>(NLMSG_DATA(&head));
    if (head.nlmsg_type != RTM_NEWADDR || about->ifa_scope == RT_SCOPE_HOST)
        return;  // scope host: loopback's own
    auto left = static_cast<int>(IFA_PAYLOAD(&head));
    const void *local = nullptr, *address = nullptr;
    for (auto* attribute = IFA_RTA(about); RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        if (attribute->rta_type == IFA_LOCAL) local = RTA_DATA(attribute);
        if (attribute->rta_type == IFA_ADDRESS) address = RTA_DATA(attribute);
    }
    // On point-to-point links IFA_ADDRESS is the other end's.
    if (const void* own = local ? local : address) to.push_back(ip_of(about->ifa_family, own));
}

Connection connection_of(const nlmsghdr& head, const inet_diag_msg& about) {
    Connection found;
    found.local = {ip_of(about.idiag_family, about.id.idiag_src), ntohs(about.id.idiag_sport)};
    found.peer = {ip_of(about.idiag_family, about.id.idiag_dst), ntohs(about.id.idiag_dport)};
    auto left = static_cast<int>(head.nlmsg_len - NLMSG_LENGTH(sizeof about));
    auto* first = reinterpret_cast<const char*>(&about) + NLMSG_ALIGN(sizeof about);
    for (auto* attribute = reinterpret_cast<const rtattr*>(first); RTA_OK(attribute, left);
         attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == INET_DIAG_CGROUP_ID) std::memcpy(&found.group, RTA_DATA(attribute), 8);
    return found;
}

// True if the kernel did it; a connection that ended by itself meanwhile is as good.
bool destroy_one(int fd, const inet_diag_msg& about) {
    Message<inet_diag_req_v2> request;
    request.body.sdiag_family = about.idiag_family;
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_states = ~0u;
    request.body.id = about.id;
    if (!say(fd, request, SOCK_DESTROY, NLM_F_ACK)) return false;
    Message<nlmsgerr> answer;
    char rest[256];
    iovec parts[] = {{&answer, sizeof answer}, {rest, sizeof rest}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    return ::recvmsg(fd, &message, 0) > 0 && (answer.body.error == 0 || answer.body.error == -ENOENT);
}

}  // namespace

Result<std::uint64_t> cookie_of(int netns) {
    return io::inside(io::Namespace{netns}, []() -> Result<std::uint64_t> {
        Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        std::uint64_t cookie = 0;
        socklen_t size = sizeof cookie;
        if (!fd.open() || ::getsockopt(fd.get(), SOL_SOCKET, so_netns_cookie, &cookie, &size) != 0)
            return refuse_call("cannot read a namespace's cookie", errno);
        return cookie;
    });
}

Result<Fd> watch_addresses(int netns) {
    return netlink(netns, NETLINK_ROUTE, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
}

void drain_events(int watch) {
    char buffer[8192];
    // An overflow (ENOBUFS) is an event like another: whoever drains looks at all addresses anyway.
    while (::recv(watch, buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == EINTR || errno == ENOBUFS)
        errno = 0;
}

Result<std::vector<Ip>> addresses_of(int netns) {
    TRY(Fd fd, netlink(netns, NETLINK_ROUTE, 0));
    Message<ifaddrmsg> request;
    TRY_DONE(say(fd.get(), request, RTM_GETADDR, NLM_F_DUMP));
    std::vector<Ip> found;
    TRY_DONE(read_dump(fd.get(), [&found](const nlmsghdr& head) { collect_address(head, found); }));
    return found;
}

Result<Cut> cut_connections(int netns, bool destroy, const std::function<bool(const Connection&)>& chosen) {
    Cut cut;
    for (int family : {AF_INET, AF_INET6}) {  // v4-mapped ones are in the second dump only
        TRY(Fd fd, netlink(netns, NETLINK_SOCK_DIAG, 0));
        TRY(Fd killer, netlink(netns, NETLINK_SOCK_DIAG, 0));
        Message<inet_diag_req_v2> request;
        request.body.sdiag_family = static_cast<__u8>(family);
        request.body.sdiag_protocol = IPPROTO_TCP;
        request.body.idiag_states = ~((1u << TCP_LISTEN) | (1u << TCP_TIME_WAIT));
        TRY_DONE(say(fd.get(), request, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP));
        TRY_DONE(read_dump(fd.get(), [&](const nlmsghdr& head) {
            auto* about = static_cast<const inet_diag_msg*>(NLMSG_DATA(&head));
            if (!chosen(connection_of(head, *about))) return;
            ++cut.found;
            if (destroy && destroy_one(killer.get(), *about)) ++cut.destroyed;
        }));
    }
    return cut;
}

}  // namespace culvert::agent
