#include "ztunnel/inbound.h"

#include "lib/mesh/headers.h"
#include "lib/mesh/inbound.h"
#include "ztunnel/admission.h"
#include "ztunnel/connections.h"
#include "ztunnel/dial.h"
#include "ztunnel/greeting.h"
#include "ztunnel/hbone.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/tunnel.h"

namespace culvert::ztunnel {

namespace {

// A link, and between which addresses it runs.
struct Caller {
    std::unique_ptr<Link> link;
    Address source;
    Address accepted;
};

// ---- one CONNECT ----

void note_authority(Connection& connection, const mesh::Authority& authority) {
    if (const auto* address = std::get_if<Address>(&authority))
        connection.authority = *address;
    else
        connection.authority_name = std::make_unique<std::string>(mesh::to_string(authority));
}

// What the CONNECT asks for, and whether it may: everything before the first packet towards the app.
io::Task<Result<Known>> admit(Connection& connection, const h2::ConnectRequest& request) {
    if (!request.is_connect()) co_return refuse(Reason::bad_request);
    CO_TRY(const mesh::Authority authority, mesh::parse_authority(request.authority));
    note_authority(connection, authority);
    CO_TRY(Known known, co_await known_pod(connection));
    const mesh::Inbound asked = mesh::admit(
        *known.directory, connection.pod.shard().settings().around,
        {*known.self, connection.original_destination, authority, mesh::forwarded_host(request.forwarded)});
    if (asked.reason != Reason::none) co_return refuse(asked.reason, asked.status);
    CO_TRY_DONE(authorise(connection, known, asked, request.baggage));
    co_return known;
}

io::Task<Result<Done>> begin(Connection& connection, Tunnel& tunnel, Link& link, h2::StreamId stream) {
    auto request = link.take_request(stream, tunnel);
    if (!request) co_return refuse(Reason::reset);
    CO_TRY(Known known, co_await admit(connection, *request));
    CO_TRY(io::Socket app, co_await dial_app(connection));
    bool baggage = connection.pod.shard().settings().response_baggage;
    link.respond(stream, connect_success(*known.self, baggage));  // H-27: only now
    tunnel.start(std::move(app));
    co_return Done{};
}

// H-26: a status says it, without a body. 400 and 503 come from the question, 401 from policy.
int status_of(const Error& refusal) {
    bool asked = refusal.detail == 400 || refusal.detail == 503;
    return asked ? refusal.detail : mesh::connect_status(refusal.reason);
}

void say_no(Link& link, h2::StreamId stream, const Error& refusal) {
    link.respond(stream, {status_of(refusal), {}});
}

io::Task<void> serve_stream(PodView& pod, const Caller& caller, h2::StreamId stream) {
    Connection connection(pod, Direction::inbound);
    connection.protocol = Protocol::hbone;
    connection.source = caller.source;
    connection.original_destination = caller.accepted;
    connection.peer = &caller.link->peer();
    Tunnel tunnel(connection);
    {
        auto beginning = begin(connection, tunnel, *caller.link, stream);
        auto begun = co_await connection.scope.run(std::move(beginning));
        if (!begun) say_no(*caller.link, stream, begun.error());
        connection.begun(begun);
    }
    co_await connection.scope.join();
    connection.ended(tunnel.failure());
}

// ---- one link ----

// H-10: the certificate is that of the pod whose listener accepted.
io::Task<Result<Secured>> welcome(Connection& connection, io::Socket& peer) {
    Shard& shard = connection.pod.shard();
    CO_TRY(connection.source, peer.peer());
    CO_TRY(connection.original_destination, peer.local());
    auto credential = co_await shard.credentials().get(connection.pod.identity());
    if (!credential) co_return refuse(Reason::no_certificate);
    auto handshake = shard.handshakes().server(*credential, shard.loop().clock().wall());
    Greeting greeting{std::move(peer), std::move(handshake), std::move(*credential)};
    co_return co_await greet(std::move(greeting));
}

// The half-open part of a link's life. Refused, it is one warning and one count (M-8).
io::Task<Result<Caller>> accept_link(PodView& pod, io::Socket peer) {
    PodView::HalfOpen half_open(pod);
    Shard& shard = pod.shard();
    io::Loop& loop = shard.loop();
    Connection connection(pod, Direction::inbound);
    auto welcoming = welcome(connection, peer);
    auto limited = io::within(loop, shard.settings().handshake, std::move(welcoming));
    auto secured = co_await connection.scope.run(std::move(limited));
    if (!secured) {
        if (peer.open()) peer.reset_on_close();
        connection.begun(refuse(std::move(secured)));
        connection.ended(Reason::none);
        co_return refuse(connection.cut_reason());
    }
    auto link = std::make_unique<Link>(shard, h2::Role::server, *std::move(secured));
    co_return Caller{std::move(link), connection.source, connection.original_destination};
}

}  // namespace

io::Task<void> serve_inbound(PodView& pod, io::Socket peer) {
    auto accepted = co_await accept_link(pod, std::move(peer));
    if (!accepted) co_return;
    const Caller caller = *std::move(accepted);
    Link& link = *caller.link;
    PodView::Accepted among(pod, link);
    io::Scope streams(pod.shard().loop());
    link.start();
    while (!link.ended()) {
        auto stream = co_await link.next_request();
        if (stream && !streams.start(serve_stream(pod, caller, *stream))) link.reset(*stream);
    }
    co_await streams.join();
    co_await link.join();
}

}  // namespace culvert::ztunnel
