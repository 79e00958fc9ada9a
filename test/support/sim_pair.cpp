#include "test/support/sim_pair.h"

namespace culvert::test {

std::vector<Visit> visits_of(std::size_t count, std::size_t size) {
    std::vector<Visit> visits(count);
    for (std::size_t i = 0; i < count; ++i) visits[i].sent = payload(i, size * (i + 1));
    return visits;
}

SimPair::SimPair(const io::SimOptions& options, Temper temper, const ztunnel::Settings& settings)
    : world(options, settings), clients(world.apps()), servers(world.apps()) {
    mesh::Workload client_says = SimWorld::workload("client", client_ip, "client");
    mesh::Workload server_says = SimWorld::workload("server", server_ip, "server");
    client = &world.enrol(0, client_says);
    server = &world.enrol(1, server_says);
    mesh::Delta delta;
    delta.addresses = {client_says, server_says};
    delta.addresses_complete = delta.policies_complete = true;
    world.publish(delta);
    world.network.record();
    check(servers.start(serve(servers, server->where, server_at, temper, served)));
}

SimPair::~SimPair() { check(closed_ || close()); }

void SimPair::start(std::vector<Visit>& visits) {
    for (Visit& each : visits) start(each);
}

void SimPair::start(Visit& each, io::Namespace from, Address to) {
    check(clients.start(visit(world.apps(), from, to, each)));
}

bool SimPair::run() {
    return run(std::chrono::hours(1), [this] { return finished(); });
}

void SimPair::deny(const std::string& account) {
    mesh::Match match;
    match.service_accounts.any_of = {{"test", account}};
    mesh::Policy policy{"no-" + account, "test", mesh::PolicyScope::name_space, mesh::PolicyAction::deny, {}};
    policy.rules = {{{{{match}}}}};
    mesh::Delta delta;
    delta.policies = {{"test/no-" + account, policy}};
    world.publish(delta);
}

void SimPair::publish(mesh::Workload workload) {
    mesh::Delta delta;
    delta.addresses = {std::move(workload)};
    world.publish(delta);
}

std::uint64_t SimPair::refusals(std::size_t node, ztunnel::Direction direction, Reason why) {
    return world.node(node).shard.telemetry().refusals(direction, why);
}

bool SimPair::close() {
    closed_ = true;
    servers.cancel();
    clients.cancel();
    world.close();
    return !world.network.crossed(marker);
}

}  // namespace culvert::test
