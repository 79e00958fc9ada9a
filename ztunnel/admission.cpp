#include "ztunnel/admission.h"

#include "lib/mesh/rbac.h"
#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

namespace culvert::ztunnel {

namespace {

Known look(const PodView& pod, const mesh::DirectoryPtr& directory) {
    return {directory, directory ? pod.self(*directory) : nullptr};
}

// Until policies have arrived they count as "deny what a policy could deny" (decision 10).
bool can_judge(const Known& known) { return known.self && known.directory->synced().policies; }

io::Task<Result<Known>> known_later(const Connection& connection) {
    PodView& pod = connection.pod;
    Shard& shard = pod.shard();
    for (;;) {
        CO_TRY_DONE(co_await shard.published());
        Known known = look(pod, shard.directory());
        if (can_judge(known)) co_return known;
    }
}

mesh::RbacConnection rbac_of(const Connection& connection) {
    mesh::RbacConnection asked;
    asked.source = connection.source.ip;
    if (connection.peer) asked.identity = *connection.peer;
    asked.destination = connection.next_hop;
    return asked;
}

mesh::WorkloadPtr source_of(const Connection& connection, const mesh::Directory& directory) {
    const std::string& network = connection.pod.shard().settings().around.network;
    return directory.workload_at(network, connection.source.ip);
}

}  // namespace

io::Task<Result<Known>> known_pod(const Connection& connection) {
    Shard& shard = connection.pod.shard();
    io::Loop& loop = shard.loop();
    Known known = look(connection.pod, shard.directory());
    if (can_judge(known)) co_return known;
    auto later = known_later(connection);
    auto found = co_await io::within(loop, shard.settings().workload_wait, std::move(later));
    if (found || found.error().reason != Reason::timed_out) co_return found;
    known = look(connection.pod, shard.directory());
    co_return refuse(known.self ? Reason::not_synced : Reason::source_unknown);
}

Result<Done> authorise(Connection& connection, const Known& known, const mesh::Inbound& asked,
                       std::string_view baggage) {
    connection.next_hop = asked.dial;
    mesh::WorkloadPtr source = source_of(connection, *known.directory);
    bool trusts_baggage =
        connection.pod.shard().settings().response_baggage;  // V-4: one switch for both directions
    connection.opened(connection.pod.shard().telemetry().flow({
        .direction = Direction::inbound,
        .mutual_tls = connection.peer != nullptr,
        .source = source,
        .destination = known.self,
        .service = asked.service ? asked.service->value : nullptr,
        .source_identity = connection.peer ? connection.peer->to_string() : "",
        .baggage = source || !trusts_baggage ? "" : std::string(baggage),
    }));
    const mesh::Judgement judgement = mesh::judge(*known.directory, *known.self, rbac_of(connection));
    if (!judgement.allowed) return std::unexpected(Error{judgement.reason, 0, judgement.text()});
    return Done{};
}

// The removal of the pod from WDS alone touches nothing that is established.
bool still_allowed(const Connection& connection, const mesh::Directory& directory) {
    mesh::WorkloadPtr self = connection.pod.self(directory);
    return !self || mesh::judge(directory, *self, rbac_of(connection)).allowed;
}

}  // namespace culvert::ztunnel
