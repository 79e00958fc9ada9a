// A UDP socket for DNS: waits by the loop, then receives and sends without waiting. The address to which a
// query was sent is kept and its answer leaves from there (IP_PKTINFO, IPV6_PKTINFO), as a wildcard socket
// would otherwise answer from another one (kernel fact 20). Real drivers only: the simulator has no UDP.
#pragma once
#include "lib/base/fd.h"
#include "lib/io/socket.h"

namespace culvert::io {

struct DatagramOptions {
    std::uint32_t role = 0;  // CV_ROLE_DNS where the agent is ours: announced before bind; 0: none
    bool reuse_port = true;  // C-3
    std::uint32_t mark = 0;
};

class Datagram {
public:
    struct Packet {
        Bytes bytes;  // inside the buffer given
        Address from;
        Ip local;                // where it was sent to
        bool truncated = false;  // longer than the buffer
    };

    // `at` of `::` is dual-stack. Port 0 chooses one.
    static Result<Datagram> open(Loop& loop, Namespace where, Address at, const DatagramOptions& options);
    // For a client: bound to nothing, connected to `to`, so that only its answers arrive and ICMP errors are
    // reported.
    static Result<Datagram> dial(Loop& loop, Namespace where, Address to, std::uint32_t mark = 0);

    PollWait readable() { return io::readable(*loop_, fd_.get()); }  // Result<Done>
    // Reason::no_buffers with detail EAGAIN: nothing is there. ICMP errors of a dialled socket are
    // connect_refused etc.
    Result<Packet> try_receive(Bytes buffer);
    // Fire and forget: a full socket drops the packet, as the network would. `local` unspecified: the kernel
    // chooses.
    Result<Done> try_send(ConstBytes bytes, Address to, Ip local);
    Result<Done> try_send(ConstBytes bytes);  // of a dialled socket
    Result<Address> local() const;

private:
    Datagram(Loop& loop, Fd fd, bool v6) : loop_(&loop), fd_(std::move(fd)), v6_(v6) {}
    Loop* loop_;
    Fd fd_;
    bool v6_;
};

}  // namespace culvert::io
