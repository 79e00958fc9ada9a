#include "lib/io/seqpacket.h"

#include "lib/io/unix.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace culvert::io {
namespace {

struct Control {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(PacketSocket::descriptors_max * sizeof(int))> bytes{};
};

// Takes every descriptor that arrived, also those of a packet that will be refused: else they would leak.
std::vector<Fd> descriptors_in(msghdr& message) {
    std::vector<Fd> out;
    for (cmsghdr* at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
        std::size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
            out.emplace_back(fd);
        }
    }
    return out;
}

bool would_wait(const Error& error) { return error.reason == Reason::no_buffers && error.detail == EAGAIN; }

}  // namespace

Result<PacketSocket> PacketSocket::dial(Loop& loop, const std::string& path) {
    TRY(Fd fd, dial_unix(path, UnixKind::packets));
    return PacketSocket(loop, std::move(fd));
}

Result<Packet> PacketSocket::try_receive() {
    std::array<std::byte, packet_max> buffer;
    iovec vector{buffer.data(), buffer.size()};
    Control control;
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    ssize_t got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) return refuse_os(errno);
    Packet packet;
    packet.descriptors = descriptors_in(message);
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        return refuse(Reason::bad_input, "a packet longer than 1024 bytes or with more than 4 descriptors");
    }
    packet.bytes.assign(buffer.begin(), buffer.begin() + got);
    return packet;
}

Result<Done> PacketSocket::try_send(ConstBytes bytes, std::span<const int> descriptors) {
    if (bytes.empty() || bytes.size() > packet_max || descriptors.size() > descriptors_max) {
        return refuse(Reason::limit, EMSGSIZE);
    }
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    Control control;
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
        message.msg_control = control.bytes.data();
        message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    if (::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return refuse_os(errno);
    return Done{};
}

Task<Result<Packet>> PacketSocket::receive() {
    for (;;) {
        Result<Packet> packet = try_receive();
        if (packet || !would_wait(packet.error())) co_return std::move(packet);
        CO_TRY_DONE(co_await readable());
    }
}

Task<Result<Done>> PacketSocket::send(ConstBytes bytes, int descriptor) {
    for (;;) {
        Result<Done> sent = try_send(bytes, std::span(&descriptor, descriptor < 0 ? 0 : 1));
        if (sent || !would_wait(sent.error())) co_return sent;
        CO_TRY_DONE(co_await writable());
    }
}

Result<PeerCredentials> PacketSocket::peer() const {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return refuse_os(errno);
    return PeerCredentials{who.pid, who.uid, who.gid};
}

Result<PacketListener> PacketListener::open(Loop& loop, const std::string& path, mode_t mode) {
    TRY(Fd fd, listen_unix(path, mode, UnixKind::packets));
    return PacketListener(Listener(loop, fd.release()));
}

Task<Result<PacketSocket>> PacketListener::accept() {
    CO_TRY(Socket socket, co_await listener_.accept());
    Loop& loop = socket.loop();
    co_return PacketSocket(loop, Fd(socket.release()));
}

}  // namespace culvert::io
