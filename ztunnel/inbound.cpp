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
struct Accepted {
    std::unique_ptr<Link> link;
    Address source;
    Address at;
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
    CO_TRY_DONE(co_await until_known(connection));
    CO_TRY(Known known, known_now(connection));
    const mesh::Surroundings& around = connection.pod.shard().settings().around;
    const mesh::InboundRequest question{*known.self, connection.original_destination, authority,
                                        mesh::forwarded_host(request.forwarded)};
    CO_TRY(const mesh::Inbound asked, mesh::admit(*known.directory, around, question));
    note(connection, known, asked, request.baggage);
    CO_TRY_DONE(authorise(connection, known));
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

io::Task<void> serve_stream(PodView& pod, const Accepted& accepted, h2::StreamId stream) {
    Connection connection(pod, Direction::inbound);
    connection.protocol = Protocol::hbone;
    connection.source = accepted.source;
    connection.original_destination = accepted.at;
    connection.peer = &accepted.link->peer();
    Tunnel tunnel(connection);
    {
        auto beginning = begin(connection, tunnel, *accepted.link, stream);
        auto begun = co_await connection.scope.run(std::move(beginning));
        // H-26: a status says it, without a body.
        if (!begun) accepted.link->respond(stream, {mesh::connect_status(begun.error().reason), {}});
        connection.begun(begun);
    }
    co_await connection.scope.join();
    connection.ended(tunnel.failure());
}

// ---- one link ----

// H-10: the certificate is that of the pod whose listener accepted.
io::Task<Result<Secured>> welcome(Connection& connection, io::Socket& peer) {
    Shard& shard = connection.pod.shard();
    CO_TRY(connection.original_destination, peer.local());
    CO_TRY(auto credential, co_await shard.credential(connection.pod.identity()));
    auto handshake = shard.handshakes().server(credential, shard.loop().clock().wall());
    auto greeted = greet({std::move(peer), std::move(handshake), std::move(credential)});
    co_return co_await io::within(shard.loop(), connection.pod.handshake_time(), std::move(greeted));
}

// The half-open part of a link's life. Refused, it is one warning and one count (M-8).
io::Task<Result<Accepted>> accept_link(PodView& pod, io::Socket peer, Address caller) {
    Shard& shard = pod.shard();
    Connection connection(pod, Direction::inbound);
    connection.source = caller;
    auto welcoming = welcome(connection, peer);
    auto secured = co_await connection.scope.run(std::move(welcoming));
    if (!secured) {
        if (peer.open()) peer.reset_on_close();
        connection.begun(refuse(std::move(secured)));
        connection.ended(Reason::none);
        co_return refuse(connection.cut_reason());
    }
    auto link = std::make_unique<Link>(shard, h2::Role::server, *std::move(secured));
    co_return Accepted{std::move(link), connection.source, connection.original_destination};
}

}  // namespace

io::Task<void> serve_inbound(PodView& pod, io::Socket peer, Address caller) {
    PodView::Arrival arrival(pod, caller.ip);
    auto made = co_await accept_link(pod, std::move(peer), caller);
    if (!made) co_return;
    const Accepted accepted = *std::move(made);
    Link& link = *accepted.link;
    arrival.proved(link);
    io::Scope streams(pod.shard().loop());
    link.start();
    while (!link.ended()) {
        auto stream = co_await link.next_request();
        if (!stream) continue;
        if (pod.has_room() && streams.start(serve_stream(pod, accepted, *stream))) continue;
        link.turn_away(*stream);
        pod.shard().telemetry().refused(Direction::inbound, Reason::limit);
    }
    co_await streams.join();
    co_await link.join();
}

}  // namespace culvert::ztunnel
