#include "test/support/control_plane.h"

#include "lib/base/check.h"

#include <filesystem>
#include <fstream>

namespace culvert::test {

namespace {

void write_file(const std::string& path, std::string_view text) {
    std::ofstream(path + ".new", std::ios::binary) << text;
    std::filesystem::rename(path + ".new", path);
}

std::string state(const Scratch& scratch) {
    std::string path = scratch.path("state");
    std::filesystem::create_directory(path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
}

}  // namespace

ControlPlane::ControlPlane(std::vector<std::string> names, xds::ServerOptions options)
    : authority_(tls::Authority::open(state(scratch_), "cluster.local", system_clock().wall()).value()),
      tokens_(tls::TokenKey::open(state(scratch_)).value()), options_(std::move(options)) {
    options_.listen = "127.0.0.1:0";
    options_.key_file = scratch_.path("serving-key.pem");
    options_.chain_file = scratch_.path("serving.pem");
    options_.reload_seconds = 1;
    write_file(scratch_.path("root-cert.pem"), authority_.root().pem);
    serve_as(std::move(names));
    start();
}

ControlPlane::~ControlPlane() = default;

void ControlPlane::serve_as(std::vector<std::string> names) {
    auto serving = authority_.serving(names, std::chrono::hours(1), system_clock().wall()).value();
    write_file(options_.key_file, serving.key.reveal());
    write_file(options_.chain_file, serving.chain);
}

void ControlPlane::start() {
    server_ = xds::GrpcServer::start(options_, {this, this, this}, metrics).value();
    options_.listen = "127.0.0.1:" + std::to_string(server_->port());
    if (published_) server_->publish(published_);
}

void ControlPlane::stop() { server_.reset(); }

xds::Endpoint ControlPlane::endpoint(const std::string& node) const {
    xds::Endpoint endpoint;
    endpoint.address = "https://localhost:" + options_.listen.substr(options_.listen.find(':') + 1);
    endpoint.root_ca = scratch_.path("root-cert.pem");
    std::string path = scratch_.path("token-" + node);
    write_file(path, token(node) + "\n");
    endpoint.token = path;
    return endpoint;
}

std::string ControlPlane::token(const std::string& node, std::chrono::seconds ttl) const {
    return std::string(tokens_.make(node, system_clock().wall(), ttl).value().reveal());
}

void ControlPlane::publish(xds::SnapshotPtr snapshot) {
    published_ = snapshot;
    if (server_) server_->publish(std::move(snapshot));
}

void ControlPlane::banish(const std::string& node) {
    std::lock_guard hold(lock_);
    banished_.insert(node);
}

void ControlPlane::allow(const std::string& spiffe) {
    std::lock_guard hold(lock_);
    allowed_.insert(spiffe);
}

std::map<std::string, xds::PodReport> ControlPlane::roll(const std::string& node) {
    std::lock_guard hold(lock_);
    return roll_[node];
}

std::size_t ControlPlane::signatures() {
    std::lock_guard hold(lock_);
    return signatures_;
}

std::uint64_t ControlPlane::refused(const std::string& reason) {
    return metrics.counter("culvert_xds_refused", "", {{"reason", reason}}).value();
}

Result<xds::Caller> ControlPlane::authenticate(xds::Presented presented) {
    TRY(tls::NodeClaim claim, tokens_.claim(presented.bearer, system_clock().wall()));
    xds::Caller caller{std::move(claim.node), std::string(presented.peer), claim.expires};
    TRY_DONE(still(caller));
    return caller;
}

Result<Done> ControlPlane::still(const xds::Caller& caller) {
    std::lock_guard hold(lock_);
    if (banished_.contains(caller.node)) return refuse(Reason::token_rejected, "no such node");
    if (system_clock().wall() >= caller.expires) return refuse(Reason::token_rejected, "expired");
    return Done{};
}

void ControlPlane::sign(const xds::Caller&, xds::SignRequest request, xds::SignAnswer answer) {
    std::lock_guard hold(lock_);
    auto csr = tls::Csr::parse(request.csr);
    if (!csr) return answer(refuse(std::move(csr)));
    std::string asked = csr->identity().to_string();
    if (request.impersonate != asked || !allowed_.contains(asked)) return answer(refuse(Reason::ca_rejected));
    auto made = authority_.sign(*csr, request.ttl, system_clock().wall());
    ++signatures_;
    if (!made) return answer(refuse(std::move(made)));
    answer(std::move(made->chain));
}

void ControlPlane::report(const xds::Caller& caller, xds::Report report, Applied applied) {
    {
        std::lock_guard hold(lock_);
        auto& of = roll_[caller.node];
        if (report.snapshot) of.clear();
        for (auto& pod : report.pods) {
            if (pod.gone) of.erase(pod.uid);
            if (!pod.gone) of[pod.uid] = pod;
        }
    }
    applied(Done{});
    happened_.notify();
}

}  // namespace culvert::test
