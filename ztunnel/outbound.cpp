#include "ztunnel/outbound.h"

#include "lib/mesh/decide.h"
#include "ztunnel/connections.h"
#include "ztunnel/dial.h"
#include "ztunnel/hbone.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/splice.h"
#include "ztunnel/tunnel.h"

namespace culvert::ztunnel {

namespace {

struct Decision {
    mesh::WorkloadPtr source;
    mesh::Outbound verdict;
};

mesh::Outbound not_yet() {
    mesh::Outbound verdict;
    verdict.way = mesh::Outbound::Way::wait;
    verdict.reason = Reason::not_synced;
    return verdict;
}

// On the snapshot of this moment. Decision 10: until WDS knows the pod, what ZDS says of it will do.
Decision decide_now(const Connection& connection) {
    PodView& pod = connection.pod;
    Shard& shard = pod.shard();
    const mesh::DirectoryPtr& directory = shard.directory();
    if (!directory) return {pod.provisional(), not_yet()};
    mesh::WorkloadPtr source = pod.self(*directory);
    if (!source) source = pod.provisional();
    const mesh::OutboundRequest request{*source, connection.source.ip, connection.original_destination};
    return {source, mesh::decide(*directory, shard.settings().around, request, shard.loop().random())};
}

bool waits(const Decision& decision) { return decision.verdict.way == mesh::Outbound::Way::wait; }

io::Task<Result<Decision>> decide_later(const Connection& connection) {
    for (;;) {
        CO_TRY_DONE(co_await connection.pod.shard().published());
        Decision decision = decide_now(connection);
        if (!waits(decision)) co_return decision;
    }
}

// S14, O-2: what the directory does not know yet may arrive within the wait; then it is refused, never let
// through.
io::Task<Result<Decision>> decide(const Connection& connection) {
    Decision decision = decide_now(connection);
    if (waits(decision)) {
        Shard& shard = connection.pod.shard();
        io::Loop& loop = shard.loop();
        auto later = decide_later(connection);
        auto decided = co_await io::within(loop, shard.settings().workload_wait, std::move(later));
        if (decided)
            decision = *std::move(decided);
        else if (decided.error().reason != Reason::timed_out)
            co_return refuse(std::move(decided));
    }
    if (waits(decision) || decision.verdict.way == mesh::Outbound::Way::refused) {
        co_return refuse(decision.verdict.reason);
    }
    co_return decision;
}

void note(Connection& connection, const Decision& decision) {
    const mesh::Outbound& verdict = decision.verdict;
    bool hbone = verdict.way == mesh::Outbound::Way::hbone;
    connection.next_hop = verdict.dial;
    connection.protocol = hbone ? Protocol::hbone : Protocol::tcp;
    if (hbone) connection.authority = verdict.authority;
    connection.opened(connection.pod.shard().telemetry().flow({
        .direction = Direction::outbound,
        .mutual_tls = hbone,
        .source = decision.source,
        .destination = verdict.workload,
        .service = verdict.service ? verdict.service->value : nullptr,
        .source_identity = hbone ? decision.source->identity().to_string() : "",
        .baggage = {},
    }));
}

// The CONNECT and its answer. When the peer says that it did nothing for this stream (GOAWAY, refused),
// another link is tried once: no byte of the app has left yet.
io::Task<Result<Done>> open_tunnel(Connection& connection, Tunnel& tunnel, const Decision& decision) {
    Shard& shard = connection.pod.shard();
    io::Loop& loop = shard.loop();
    const Hop hop = hop_of(connection, *decision.source, decision.verdict);
    const h2::ConnectRequest request =
        connect_request(connection, *decision.source, decision.verdict, loop.random());
    for (bool again : {true, false}) {
        CO_TRY_DONE(co_await connection.pod.pool().open(hop, tunnel, request));
        auto answer = tunnel.answered();
        auto answered = co_await io::within(loop, shard.settings().connect_reply, std::move(answer));
        if (answered) break;
        Reason why = answered.error().reason;
        if (why == Reason::timed_out) co_return refuse(Reason::connect_reply_timed_out);
        if (why != Reason::h2_going_away || !again) co_return refuse(std::move(answered));
        tunnel.leave();
    }
    co_return Done{};
}

io::Task<Result<Done>> dial_plain(Connection& connection, io::Socket& app) {
    CO_TRY(io::Socket peer, co_await dial(connection.pod, connection.next_hop));
    co_return co_await splice(connection, std::move(app), std::move(peer));
}

// Until both directions of a tunnel run, or, without one, until a plain connection has ended.
io::Task<Result<Done>> begin(Connection& connection, Tunnel& tunnel, io::Socket& app) {
    CO_TRY(connection.source, app.peer());
    CO_TRY(connection.original_destination, app.original_destination());
    CO_TRY(Decision decision, co_await decide(connection));
    if (decision.verdict.way == mesh::Outbound::Way::resolve) co_return refuse(Reason::unsupported);
    note(connection, decision);
    if (connection.protocol != Protocol::hbone) co_return co_await dial_plain(connection, app);
    CO_TRY_DONE(co_await open_tunnel(connection, tunnel, decision));
    tunnel.start(std::move(app));
    co_return Done{};
}

}  // namespace

io::Task<void> serve_outbound(PodView& pod, io::Socket app) {
    Connection connection(pod, Direction::outbound);
    Tunnel tunnel(connection);
    {
        auto beginning = begin(connection, tunnel, app);
        auto begun = co_await connection.scope.run(std::move(beginning));
        if (!begun && app.open()) app.reset_on_close();
        connection.begun(begun);
    }
    co_await connection.scope.join();
    connection.ended(tunnel.failure());
}

}  // namespace culvert::ztunnel
