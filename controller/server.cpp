#include "controller/server.h"

#include "controller/engine.h"
#include "controller/gatekeeper.h"
#include "controller/occupancy.h"
#include "controller/status.h"
#include "lib/base/log.h"
#include "lib/control/server.h"
#include "lib/io/uring.h"
#include "lib/tls/state_directory.h"
#include "lib/xds/grpc_server.h"

#include <filesystem>
#include <sys/prctl.h>

namespace culvert::controller {
namespace {

constexpr const char* serving_key = "serving-key.pem";
constexpr const char* serving_chain = "serving-cert.pem";
constexpr auto serving_ttl = std::chrono::hours(24);
constexpr auto serving_renewal = std::chrono::hours(12);

// The names under which nodes may look for us without a flag: this machine, and Istio's default address
//
std::vector<std::string> serving_names(const Options& options) {
    std::vector<std::string> out = options.serving_names;
    for (const char* name : {"localhost", "127.0.0.1", "::1", "istiod.istio-system.svc"})
        out.emplace_back(name);
    return out;
}

Result<Done> write_serving(const tls::Authority& authority, const Options& options, WallTime now) {
    const std::vector<std::string> names = serving_names(options);
    TRY(tls::Authority::Serving made, authority.serving(names, serving_ttl, now));
    TRY(tls::StateDirectory state, tls::StateDirectory::open(options.state_dir));
    TRY_DONE(state.write(serving_key, made.key.reveal(), true));
    return state.write(serving_chain, made.chain, false);
}

void log_ready(const Options& options, std::uint16_t port, std::uint16_t status_port) {
    log::info("controller", "ready",
              {log::text("manifests", options.manifests), log::text("state", options.state_dir),
               log::number("port", port), log::number("status_port", status_port)});
}

}  // namespace

// In the order of construction: each part uses only those above it, except where a comment says who stops
// first.
struct Server::Inside {
    Fd occupied;
    Options options;
    Registry metrics;
    tls::Authority authority;
    tls::TokenKey tokens;
    Residents residents;
    Refusals refusals;
    Board board;
    NodeFiles files;
    xds::ThreadExecutor executor;
    Gatekeeper gatekeeper;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<xds::GrpcServer> grpc;
    std::unique_ptr<io::Loop> loop;
    std::unique_ptr<io::Scope> scope;
    std::unique_ptr<control::Server> control;
    std::unique_ptr<kube::Watch> watch;
    std::uint16_t status_port = 0;

    Inside(const Options& from, tls::Authority signer, tls::TokenKey key)
        : options(from), authority(std::move(signer)), tokens(std::move(key)), refusals(metrics),
          files(options.state_dir + "/nodes", tokens, authority.root().pem),
          executor("graph", system_clock()),
          gatekeeper(Gatekeeper::Parts{options.mesh, authority, tokens, residents, system_clock(), refusals,
                                       metrics}) {}
    ~Inside();

    Result<Done> start_engine();
    Result<Done> start_grpc();
    Result<Done> start_control();
    Result<Done> start_watch();
    void renew_serving();
};

// Sources first, then who shows, so that nothing comes in any more; the executor before gRPC and the engine
// that its work speaks about.
Server::Inside::~Inside() {
    watch.reset();
    if (scope) {
        scope->cancel();
        loop->run_until_idle();
    }
    control.reset();
    scope.reset();
    loop.reset();
    executor.stop();
    grpc.reset();
    engine.reset();
}

Result<Done> Server::Inside::start_engine() {
    TRY(Enrolments enrolments, Enrolments::open(options.state_dir + "/enrolled"));
    // The nodes' directory exists from the start, so that a missing permission is named here.
    TRY_DONE(tls::StateDirectory::open(options.state_dir + "/nodes"));
    engine = std::make_unique<Engine>(
        options.mesh, std::move(enrolments),
        Engine::Parts{executor, residents, files, refusals, board, metrics,
                      [this](xds::SnapshotPtr now) { grpc->publish(std::move(now)); }});
    return Done{};
}

Result<Done> Server::Inside::start_grpc() {
    TRY_DONE(write_serving(authority, options, system_clock().wall()));
    executor.post([this] { executor.after(serving_renewal, [this] { renew_serving(); }); });
    xds::ServerOptions settings;
    settings.listen = options.listen;
    settings.key_file = options.state_dir + "/" + serving_key;
    settings.chain_file = options.state_dir + "/" + serving_chain;
    TRY(grpc, xds::GrpcServer::start(std::move(settings), {&gatekeeper, &gatekeeper, engine.get()}, metrics));
    return Done{};
}

void Server::Inside::renew_serving() {
    if (auto done = write_serving(authority, options, system_clock().wall()); !done)
        log::error("controller", "the serving certificate cannot be renewed",
                   {log::text("error", done.error().to_string())});
    executor.after(serving_renewal, [this] { renew_serving(); });
}

Result<Done> Server::Inside::start_control() {
    const auto at = Address::parse(options.status);
    if (!at)
        return refuse(Reason::bad_configuration,
                      "--status " + options.status + " is no address: write 127.0.0.1:15014");
    TRY(auto driver, io::make_uring({.buffers = 4}));
    loop = std::make_unique<io::Loop>(std::move(driver));
    scope = std::make_unique<io::Scope>(*loop);
    control = std::make_unique<control::Server>(*loop, *scope);
    TRY(status_port,
        control->listen(*at, routes({board, refusals, metrics, [this] { return grpc->streams(); }, *loop})));
    return Done{};
}

Result<Done> Server::Inside::start_watch() {
    const std::string keep = options.state_dir + "/last-good";
    TRY_DONE(tls::StateDirectory::open(keep));
    auto changed = [this](kube::SnapshotPtr now) { engine->manifests(std::move(now)); };
    TRY(watch, kube::Watch::start(options.manifests, std::move(changed), keep));
    return Done{};
}

Server::Server(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(const Options& options) {
    // Before anything is made: a mistyped path must not leave a root key behind and call itself ready.
    std::error_code failed;
    if (!std::filesystem::is_directory(options.manifests, failed))
        return refuse(Reason::bad_configuration, "--manifests: there is no directory " + options.manifests +
                                                     ": make it, or name another one");
    // The mesh's root key and the tokens' are in this process's memory: no core dump, no ptrace by others.
    ::prctl(PR_SET_DUMPABLE, 0);
    TRY(Fd occupied, occupy(options.state_dir));
    const WallTime now = system_clock().wall();
    TRY(tls::Authority authority, tls::Authority::open(options.state_dir, options.mesh.trust_domain, now));
    TRY(tls::TokenKey tokens, tls::TokenKey::open(options.state_dir));
    auto inside = std::make_unique<Inside>(options, std::move(authority), std::move(tokens));
    inside->occupied = std::move(occupied);
    TRY_DONE(inside->start_engine());
    TRY_DONE(inside->start_grpc());
    TRY_DONE(inside->start_control());
    TRY_DONE(inside->start_watch());
    log_ready(options, inside->grpc->port(), inside->status_port);
    return std::unique_ptr<Server>(new Server(std::move(inside)));
}

void Server::run() { inside_->loop->run(); }
void Server::stop() { inside_->loop->stop(); }
std::uint16_t Server::port() const { return inside_->grpc->port(); }
std::uint16_t Server::status_port() const { return inside_->status_port; }

}  // namespace culvert::controller
