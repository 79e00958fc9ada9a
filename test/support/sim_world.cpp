#include "test/support/sim_world.h"

#include "bpf/abi.h"
#include "lib/tls/credentials.h"

namespace culvert::test {

namespace {

using Take = void (ztunnel::PodView::*)(io::Socket);

io::Task<void> accept_all(io::Listener listener, ztunnel::PodView& pod, Take take) {
    for (;;) {
        auto socket = co_await listener.accept();
        if (socket)
            (pod.*take)(std::move(*socket));
        else if (socket.error().reason == Reason::cancelled)
            break;
    }
}

io::Task<void> end(ztunnel::PodView& pod) { std::ignore = co_await pod.join(); }

}  // namespace

io::Task<Result<std::shared_ptr<const tls::Credential>>> GivenCredentials::get(mesh::Identity identity) {
    if (withheld) co_return refuse(Reason::no_certificate);
    WallTime now = network_.clock().wall();
    co_return tls::Credential::given(std::move(identity), now - std::chrono::minutes(5), now + lifetime);
}

SimNode::SimNode(io::SimNetwork& network, const ztunnel::Settings& settings, GivenCredentials& credentials,
                 tls::HandshakeMaker& handshakes)
    : loop(network.driver(io::SimNetwork::Who::mesh)),
      shard({loop, settings, credentials, handshakes, metrics}) {}

SimPod::SimPod(SimNode& on, io::Namespace at, std::shared_ptr<const ztunnel::PodInfo> info)
    : node(on), where(at), view(on.shard, std::move(info)), listening(on.loop) {}

bool SimPod::listen() {
    struct Role {
        cv_role role;
        std::uint16_t port;
        Take take;
    };
    for (const Role& each : {Role{CV_ROLE_OUTBOUND, 15001, &ztunnel::PodView::outbound},
                             Role{CV_ROLE_INBOUND, 15006, &ztunnel::PodView::passthrough},
                             Role{CV_ROLE_HBONE, 15008, &ztunnel::PodView::inbound}}) {
        io::ListenOptions options;
        options.role = each.role;
        auto listener = io::Listener::open(node.loop, where, {Ip(), each.port}, options);
        if (!listener || !listening.start(accept_all(std::move(*listener), view, each.take))) return false;
    }
    return true;
}

SimWorld::SimWorld(const io::SimOptions& options, const ztunnel::Settings& settings)
    : network(options), credentials(network), settings_(settings), secrets_(options.seed),
      handshakes_(secrets_), apps_(network.driver(io::SimNetwork::Who::app)) {
    for (auto& node : nodes_) node = std::make_unique<SimNode>(network, settings_, credentials, handshakes_);
}

SimWorld::~SimWorld() { close(); }

mesh::Workload SimWorld::workload(const std::string& name, Ip ip, const std::string& account) {
    mesh::Workload workload;
    workload.uid = "cluster//Pod/test/" + name;
    workload.name = name;
    workload.workload_name = name;
    workload.canonical_name = name;
    workload.name_space = "test";
    workload.service_account = account;
    workload.addresses = {ip};
    workload.tunnel_protocol = mesh::TunnelProtocol::hbone;
    return workload;
}

SimPod& SimWorld::enrol(std::size_t node, const mesh::Workload& as) {
    io::Namespace where = network.add(as.name, as.addresses);
    auto info = std::make_shared<ztunnel::PodInfo>();
    info->uid = as.name;
    info->name = as.name;
    info->name_space = as.name_space;
    info->service_account = as.service_account;
    info->where = where;
    info->addresses = as.addresses;
    pods_.push_back(std::make_unique<SimPod>(*nodes_[node], where, std::move(info)));
    check(pods_.back()->listen());
    network.enrol(where);
    return *pods_.back();
}

io::Namespace SimWorld::add_plain(const std::string& name, Ip ip) { return network.add(name, {ip}); }

void SimWorld::publish(const mesh::Delta& delta) {
    mesh::DirectoryPtr next = directory.apply(delta);
    for (auto& node : nodes_) node->shard.publish(next);
}

io::SimNetwork::Rest SimWorld::run(Duration at_most, const std::function<bool()>& enough) {
    const std::array<io::Loop*, 3> all{&apps_, &nodes_[0]->loop, &nodes_[1]->loop};
    return network.run(all, at_most, enough);
}

void SimWorld::close() {
    if (std::exchange(closed_, true)) return;
    std::vector<std::unique_ptr<io::Scope>> ends;
    for (auto& pod : pods_) {
        pod->listening.cancel();
        pod->view.cut(Reason::pod_removed);
        ends.push_back(std::make_unique<io::Scope>(pod->node.loop));
        check(ends.back()->start(end(pod->view)));
    }
    check(run(std::chrono::hours(1)) == io::SimNetwork::Rest::idle);
    for (auto& scope : ends) check(scope->children() == 0);
    for (auto& pod : pods_) check(pod->view.idle() && pod->listening.children() == 0);
    pods_.clear();
    for (auto& node : nodes_) {
        check(node->shard.connections().size() == 0);
        check(node->loop.tasks() == 0);
        check(node->driver().in_flight() == 0 && node->driver().buffers_out() == 0);
    }
    check(apps_.tasks() == 0 && network.sockets() == 0);
}

}  // namespace culvert::test
