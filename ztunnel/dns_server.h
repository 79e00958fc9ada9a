// The DNS of one pod (wire.md 2.4): its captured queries arrive at 15053 in its namespace, over UDP and TCP.
// Names of the mesh are answered from the directory (lib/mesh/dns), all else goes byte for byte to the node's
// resolvers, from sockets in the pod's namespace (D-13), so that policies of the network apply.
//
// Owned by the pod's door on the worker that listens for it (worker.h), on that loop. Bounds: queries_max
// UDP queries and streams_max TCP connections at once; a query beyond them is dropped, a connection is closed
// (docs/limits.md: dns.queries, dns.streams). A resolver has resolver_wait to answer, then the next is asked;
// when none has answered the pod gets SERVFAIL (D-14).
#pragma once
#include "lib/base/metrics.h"
#include "lib/io/datagram.h"
#include "lib/io/scope.h"
#include "lib/mesh/dns.h"
#include "ztunnel/pod_view.h"

#include <vector>

namespace culvert::ztunnel {

struct DnsOptions {
    std::uint16_t port = 15053;
    bool ipv6 = true;                // C-1
    bool reuse_port = true;          // C-3
    bool announce = true;            // tell the kernel the role: the agent is ours
    std::uint32_t mark = 0;          // C-2
    std::vector<Address> resolvers;  // asked in order
};

class DnsServer {
public:
    static constexpr std::size_t queries_max = 512;
    static constexpr std::size_t streams_max = 128;

    DnsServer(PodView& pod, const DnsOptions& options, Registry& metrics);
    ~DnsServer();  // after stop()
    DnsServer(const DnsServer&) = delete;
    DnsServer& operator=(const DnsServer&) = delete;

    Result<Done> start();
    io::Task<void> stop();
    // Where it listens: of interest when the port was 0.
    Result<Address> datagrams_at() const { return datagrams_->local(); }
    Result<Address> streams_at() const { return listener_.local(); }

private:
    struct Question {
        mesh::dns::Query query;
        mesh::WorkloadPtr client;
        bool tcp = false;
    };
    io::Task<void> receive();
    io::Task<void> accept();
    io::Task<void> answer_datagram(Buffer message, Address from, Ip local);
    io::Task<void> serve_stream(io::Socket client);
    io::Task<Result<Done>> exchange(io::Socket& client, Buffer& received);
    io::Task<Buffer> answer(ConstBytes message, bool tcp);
    io::Task<bool> directory_known();
    io::Task<Buffer> forward(ConstBytes message, const Question& question);
    io::Task<Result<Buffer>> ask_datagram(Address resolver, ConstBytes message);
    io::Task<Result<Buffer>> ask_stream(Address resolver, ConstBytes message);
    Counter& count(std::string_view name, std::string_view help, const Question& question);

    PodView& pod_;
    DnsOptions options_;
    Registry& metrics_;
    io::Loop& loop_;
    io::Scope scope_;
    std::optional<io::Datagram> datagrams_;
    io::Listener listener_;
    std::size_t queries_ = 0;
    std::size_t streams_ = 0;
};

}  // namespace culvert::ztunnel
