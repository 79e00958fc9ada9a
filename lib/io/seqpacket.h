// AF_UNIX SOCK_SEQPACKET for ZDS (wire facts Z-1, Z-4): packets of at most 1024 bytes that may carry
// descriptors. A longer packet, or more descriptors than `descriptors_max`, is an error (an empty packet
// cannot be told from the end and is never sent); descriptors arrive close-on-exec. Real drivers only.
#pragma once
#include "lib/base/fd.h"
#include "lib/io/socket.h"

#include <string>
#include <sys/types.h>

namespace culvert::io {

struct Packet {
    std::vector<std::byte> bytes;  // empty: the other side has closed
    std::vector<Fd> descriptors;
};

struct PeerCredentials {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
};

class PacketSocket {
public:
    static constexpr std::size_t packet_max = 1024;  // Z-4; docs/limits.md: zds.packet_max
    static constexpr std::size_t descriptors_max = 4;

    static Result<PacketSocket> dial(Loop& loop, const std::string& path);
    PacketSocket(Loop& loop, Fd fd) : loop_(&loop), fd_(std::move(fd)) {}

    int descriptor() const { return fd_.get(); }
    PollWait readable() { return io::readable(*loop_, fd_.get()); }
    PollWait writable() { return io::writable(*loop_, fd_.get()); }
    Result<Packet> try_receive();  // no_buffers with detail EAGAIN: nothing is there
    Result<Done> try_send(ConstBytes bytes, std::span<const int> descriptors);  // the same: full
    // Whole packets, waiting as needed.
    Task<Result<Packet>> receive();
    Task<Result<Done>> send(ConstBytes bytes, int descriptor);  // -1: none; `bytes` stay untouched meanwhile
    Result<PeerCredentials> peer() const;                       // SO_PEERCRED: as it was when it connected

private:
    Loop* loop_;
    Fd fd_;
};

class PacketListener {
public:
    // Removes a stale socket of that name first. `mode` is the file's (0600 for ZDS: decision 7).
    static Result<PacketListener> open(Loop& loop, const std::string& path, mode_t mode);
    Task<Result<PacketSocket>> accept();

private:
    explicit PacketListener(Listener listener) : listener_(std::move(listener)) {}
    Listener listener_;
};

}  // namespace culvert::io
