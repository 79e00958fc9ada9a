#include "ztunnel/admission.h"

#include "lib/mesh/rbac.h"
#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

namespace culvert::ztunnel {

namespace {

io::Task<Result<Done>> known_later(const Connection& connection) {
    for (;;) {
        CO_TRY_DONE(co_await connection.pod.shard().published());
        if (known_now(connection)) co_return Done{};
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

// Until policies have arrived they count as "deny what a policy could deny" (decision 10).
Result<Known> known_now(const Connection& connection) {
    const mesh::DirectoryPtr& directory = connection.pod.shard().directory();
    mesh::WorkloadPtr self = directory ? connection.pod.self(*directory) : nullptr;
    if (!self) return refuse(Reason::source_unknown);
    if (!directory->synced().policies) return refuse(Reason::not_synced);
    return Known{directory, self};
}

io::Task<Result<Done>> until_known(const Connection& connection) {
    if (known_now(connection)) co_return Done{};
    Shard& shard = connection.pod.shard();
    io::Loop& loop = shard.loop();
    auto later = known_later(connection);
    auto known = co_await io::within(loop, shard.settings().workload_wait, std::move(later));
    if (!known && known.error().reason == Reason::timed_out) co_return Done{};  // known_now() says why not
    co_return known;
}

void note(Connection& connection, const Known& known, const mesh::Inbound& asked, std::string_view baggage) {
    connection.next_hop = asked.dial;
    mesh::WorkloadPtr source = source_of(connection, *known.directory);
    Shard& shard = connection.pod.shard();
    bool trusts_baggage = shard.settings().response_baggage;  // V-4: one switch for both directions
    connection.opened(shard.telemetry().flow({
        .direction = Direction::inbound,
        .mutual_tls = connection.peer != nullptr,
        .source = source,
        .destination = known.self,
        .service = asked.service ? asked.service->value : nullptr,
        .source_identity = connection.peer ? connection.peer->to_string() : "",
        .baggage = source || !trusts_baggage ? "" : std::string(baggage),
    }));
}

Result<Done> authorise(const Connection& connection, const Known& known) {
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
