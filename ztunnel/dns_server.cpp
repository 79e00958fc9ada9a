#include "ztunnel/dns_server.h"

#include "bpf/abi.h"
#include "lib/base/log.h"
#include "ztunnel/listening.h"

#include <algorithm>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

namespace dns = mesh::dns;

constexpr Duration resolver_wait = 2s;  // what stub resolvers wait for the first of two servers, halved
constexpr Duration stream_idle = 5s;    // D-2
constexpr std::size_t length_size = 2;  // RFC 1035 4.2.2: the length in front of a message on a stream
constexpr std::size_t receive_max = 16u << 10;
constexpr Duration accept_pause = 50ms;  // out of descriptors or memory: what is queued waits in the kernel

std::string type_word(std::uint16_t type) {
    if (type == static_cast<std::uint16_t>(dns::Type::a)) return "a";
    if (type == static_cast<std::uint16_t>(dns::Type::aaaa)) return "aaaa";
    return "other";  // a label must not grow with what pods ask for
}

Buffer framed(ConstBytes message) {
    Buffer out(length_size);
    put_big_endian(out.data(), message.size(), length_size);
    append(out, message);
    return out;
}

// The first whole message of a stream, taken out; empty while it is not there yet.
Buffer take_message(Buffer& received) {
    if (received.size() < length_size) return {};
    const auto size = static_cast<std::size_t>(get_big_endian(received.data(), length_size));
    if (received.size() < length_size + size) return {};
    const auto begin = received.begin() + length_size;
    const auto end = begin + static_cast<std::ptrdiff_t>(size);
    Buffer message(begin, end);
    received.erase(received.begin(), end);
    return message;
}

bool same_id(ConstBytes query, ConstBytes response) {
    return response.size() >= 12 && query.size() >= 2 &&
           std::equal(query.begin(), query.begin() + 2, response.begin());
}

io::Task<Result<Buffer>> read_message(io::Socket& stream, Buffer& received) {
    for (;;) {
        Buffer message = take_message(received);
        if (!message.empty()) co_return message;
        CO_TRY(io::Received got, co_await stream.recv(receive_max));
        if (got.end()) co_return refuse(Reason::closed);
        append(received, got.bytes());
    }
}

io::Task<Result<Done>> wait_readable(io::Datagram& socket) { co_return co_await socket.readable(); }

}  // namespace

DnsServer::DnsServer(PodView& pod, const DnsOptions& options, Registry& metrics)
    : pod_(pod), options_(options), metrics_(metrics), loop_(pod.shard().loop()), scope_(loop_) {}

DnsServer::~DnsServer() = default;

Result<Done> DnsServer::start() {
    const std::uint32_t role = options_.announce ? CV_ROLE_DNS : 0;
    const io::DatagramOptions receiving{
        .role = role, .reuse_port = options_.reuse_port, .mark = options_.mark};
    const io::ListenOptions listening{.role = role, .reuse_port = options_.reuse_port, .mark = options_.mark};
    const io::Namespace where = pod_.info().where;
    const Ip any = options_.ipv6 ? Ip() : Ip::v4(0);
    TRY(datagrams_, open_at_any(options_.port, options_.announce, [&](std::uint16_t port) {
            return io::Datagram::open(loop_, where, {any, port}, receiving);
        }));
    TRY(listener_, open_at_any(options_.port, options_.announce, [&](std::uint16_t port) {
            return io::Listener::open(loop_, where, {any, port}, listening);
        }));
    if (!scope_.start(receive(), accept())) return refuse(Reason::limit);
    return Done{};
}

io::Task<void> DnsServer::stop() {
    scope_.cancel();
    co_await scope_.join();
    datagrams_.reset();
    listener_ = io::Listener();
}

// ---- UDP

io::Task<void> DnsServer::receive() {
    Buffer buffer(dns::udp_edns_max);
    for (;;) {
        auto ready = co_await datagrams_->readable();
        if (!ready) co_return;
        auto packet = datagrams_->try_receive(buffer);
        if (!packet || packet->truncated) continue;
        // More than this at once is a flood of one pod: dropped, as the network would.
        if (queries_ >= queries_max) continue;
        ++queries_;
        Buffer message(packet->bytes.begin(), packet->bytes.end());
        if (!scope_.start(answer_datagram(std::move(message), packet->from, packet->local))) --queries_;
    }
}

io::Task<void> DnsServer::answer_datagram(Buffer message, Address from, Ip local) {
    Buffer response = co_await answer(message, false);
    --queries_;
    if (response.empty() || !datagrams_) co_return;
    // A full socket loses the answer, as the network would; the pod asks again.
    [[maybe_unused]] auto sent = datagrams_->try_send(response, from, local);
}

// ---- TCP

io::Task<void> DnsServer::accept() {
    for (;;) {
        auto client = co_await listener_.accept();
        if (!client && io::Listener::is_over(client.error())) co_return;
        if (!client) {
            auto slept = co_await io::sleep(loop_, accept_pause);
            if (!slept) co_return;
            continue;
        }
        if (streams_ >= streams_max) continue;  // the socket closes here
        ++streams_;
        if (!scope_.start(serve_stream(std::move(*client)))) --streams_;
    }
}

io::Task<void> DnsServer::serve_stream(io::Socket client) {
    Buffer received;
    Result<Done> going = Done{};
    while (going) {
        going = co_await exchange(client, received);
    }
    --streams_;
}

io::Task<Result<Done>> DnsServer::exchange(io::Socket& client, Buffer& received) {
    CO_TRY(Buffer message, co_await io::within(loop_, stream_idle, read_message(client, received)));
    Buffer response = co_await answer(message, true);
    if (response.empty()) co_return refuse(Reason::bad_input);
    Buffer bytes = framed(response);
    CO_TRY_DONE(co_await client.send(bytes));
    co_return Done{};
}

// ---- both

// D-3: who asks is the pod itself; what the mesh knows may take a moment after its start.
io::Task<bool> DnsServer::directory_known() {
    Shard& shard = pod_.shard();
    if (shard.directory()) co_return true;
    auto newer = shard.published();
    auto come = co_await io::within(loop_, shard.settings().workload_wait, std::move(newer));
    co_return come.has_value();
}

io::Task<Buffer> DnsServer::answer(ConstBytes message, bool tcp) {
    auto query = dns::parse(message);
    if (!query) co_return Buffer{};
    bool known = co_await directory_known();
    if (!known) co_return dns::encode_failure(*query, dns::Code::server_failure);
    const mesh::DirectoryPtr directory = pod_.shard().directory();
    mesh::WorkloadPtr client = pod_.self(*directory);
    if (!client) client = pod_.provisional();
    Question question{*std::move(query), client, tcp};
    count("istio_dns_requests", "DNS queries of pods", question).add();
    const dns::Answer local = dns::resolve(*directory, pod_.shard().settings().around,
                                           {*client, options_.ipv6}, question.query, loop_.random());
    log::debug("dns", "query",
               {log::text("src.workload", client->name()), log::text("query", type_word(question.query.type)),
                log::text("domain", question.query.name),
                log::text("result", local.what == dns::Answer::What::local ? "local" : "forwarded"),
                log::number("endpoints", local.addresses.size())});
    if (local.what == dns::Answer::What::forward) co_return co_await forward(message, question);
    co_return dns::encode(question.query, local, tcp ? dns::message_max : dns::udp_size_max(question.query));
}

io::Task<Buffer> DnsServer::forward(ConstBytes message, const Question& question) {
    const Instant begun = loop_.now();
    for (const Address resolver : options_.resolvers) {
        count("istio_dns_upstream_requests", "DNS queries forwarded", question).add();
        auto asking = question.tcp ? ask_stream(resolver, message) : ask_datagram(resolver, message);
        auto response = co_await io::within(loop_, resolver_wait, std::move(asking));
        if (response) {
            const double seconds = std::chrono::duration<double>(loop_.now() - begun).count();
            metrics_
                .histogram("istio_dns_upstream_request_duration_seconds", "Time a forwarded DNS query took",
                           {0.0005, 0.001, 0.01, 0.1, 1, 5})
                .observe(seconds);
            co_return *std::move(response);
        }
        if (response.error().reason == Reason::cancelled) co_return Buffer{};
        count("istio_dns_upstream_failures", "DNS queries that a resolver did not answer", question).add();
    }
    co_return dns::encode_failure(question.query, dns::Code::server_failure);
}

// A socket of its own for each query: its random port and the connected peer are what an off-path forger must
// guess.
io::Task<Result<Buffer>> DnsServer::ask_datagram(Address resolver, ConstBytes message) {
    CO_TRY(io::Datagram socket, io::Datagram::dial(loop_, pod_.info().where, resolver, options_.mark));
    CO_TRY_DONE(socket.try_send(message));
    Buffer buffer(dns::udp_edns_max);
    for (;;) {
        CO_TRY_DONE(co_await wait_readable(socket));
        auto packet = socket.try_receive(buffer);
        if (!packet && packet.error().reason != Reason::no_buffers) co_return refuse(std::move(packet));
        if (packet && same_id(message, packet->bytes))
            co_return Buffer(packet->bytes.begin(), packet->bytes.end());
    }
}

io::Task<Result<Buffer>> DnsServer::ask_stream(Address resolver, ConstBytes message) {
    io::ConnectOptions connecting;
    connecting.mark = options_.mark;
    CO_TRY(io::Socket stream, co_await io::connect(loop_, pod_.info().where, resolver, connecting));
    Buffer bytes = framed(message);
    CO_TRY_DONE(co_await stream.send(bytes));
    Buffer received;
    co_return co_await read_message(stream, received);
}

// M-7.
Counter& DnsServer::count(std::string_view name, std::string_view help, const Question& question) {
    const mesh::Workload& kind = question.client->kind();
    return metrics_.counter(name, help,
                            {{"request_query_type", type_word(question.query.type)},
                             {"request_protocol", question.tcp ? "tcp" : "udp"},
                             {"source_canonical_service", kind.canonical_name},
                             {"source_canonical_revision", kind.canonical_revision}});
}

}  // namespace culvert::ztunnel
