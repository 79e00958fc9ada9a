#include "lib/xds/grpc_server.h"

#include "lib/base/log.h"
#include "lib/xds/executor.h"
#include "lib/xds/grpc_calls.h"
#include "lib/xds/grpc_channel.h"
#include "lib/xds/grpc_door.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <unistd.h>

#include <utility>

namespace culvert::xds {

class GrpcServer::State final : public grpc::CallbackGenericService {
public:
    State(ServerOptions options, Handlers handlers, Registry& metrics)
        : port(std::move(options), handlers, metrics), pusher("xds-push", system_clock()) {}

    grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
        return answer_call(port, *context);
    }
    void judge_calls() {
        {
            std::lock_guard hold(port.lock);
            for (Call* call : port.calls) call->judge_again();
        }
        pusher.after(std::chrono::seconds(port.options.judge_seconds), [this] { judge_calls(); });
    }
    // On the pusher's thread: a slow client costs nothing here, its stream just has a response on its way.
    void wake_all() {
        std::lock_guard hold(port.lock);
        for (Call* call : port.calls) call->wake();
    }

    Port port;
    ThreadExecutor pusher;
    std::unique_ptr<Door> door;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    std::unique_ptr<grpc::Server> server;
};

namespace {

Result<Done> readable(const std::string& path) {
    if (access(path.c_str(), R_OK) == 0) return Done{};
    return refuse(Reason::bad_configuration, "the gRPC port needs " + path + ", which cannot be read");
}

std::shared_ptr<grpc::ServerCredentials> credentials(const ServerOptions& options) {
    grpc::experimental::TlsServerCredentialsOptions tls(
        std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            options.key_file, options.chain_file, options.reload_seconds));
    tls.watch_identity_key_cert_pairs();
    tls.set_cert_request_type(
        GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);  // callers prove themselves by token
    return grpc::experimental::TlsServerCredentials(tls);
}

constexpr std::size_t memory_max = std::size_t{2} << 30;  // docs/limits.md: xds.memory

void set_bounds(grpc::ServerBuilder& builder, const ServerOptions& options) {
    builder.SetMaxReceiveMessageSize(static_cast<int>(options.request_bytes_max));
    builder.SetMaxSendMessageSize(-1);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64);  // of one connection
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 60'000);
    // Clients ping every 30 s; gRPC would take more than one in five minutes for an attack.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);  // finds nodes that went without a word
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
    builder.SetResourceQuota(grpc::ResourceQuota("culvert").Resize(memory_max));
}

}  // namespace

GrpcServer::GrpcServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(ServerOptions options, Handlers handlers,
                                                      Registry& metrics) {
    prepare_grpc();
    TRY_DONE(readable(options.key_file));
    TRY_DONE(readable(options.chain_file));
    auto state = std::make_unique<State>(std::move(options), handlers, metrics);
    const ServerOptions& kept = state->port.options;
    TRY(state->door, Door::open({kept.listen, kept.connections_max, kept.unproven_max,
                                 std::chrono::seconds(kept.unproven_seconds)},
                                metrics));
    state->port.proven = [door = state->door.get()](const std::string& peer) { door->proven(peer); };
    grpc::ServerBuilder builder;
    set_bounds(builder, kept);
    state->acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials(kept));
    builder.RegisterCallbackGenericService(state.get());
    state->server = builder.BuildAndStart();
    if (!state->server) return refuse(Reason::io, "gRPC cannot start its server");
    state->door->start([acceptor = state->acceptor.get()](Fd fd) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
        connection.fd = fd.release();
        acceptor->HandleNewConnection(&connection);
    });
    state->pusher.post([state = state.get()] { state->judge_calls(); });
    return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(state)));
}

GrpcServer::~GrpcServer() {
    state_->pusher.stop();
    state_->door->close();  // and stays until no call can speak to it any more
    auto soon =
        std::chrono::system_clock::now() + std::chrono::seconds(1);  // tidy: gRPC's deadlines are wall time
    state_->server->Shutdown(soon);
    state_->server->Wait();
}

void GrpcServer::publish(SnapshotPtr snapshot) {
    {
        std::lock_guard hold(state_->port.snapshot_lock);
        state_->port.published = std::move(snapshot);
    }
    state_->pusher.post([state = state_.get()] { state->wake_all(); });
}

std::uint16_t GrpcServer::port() const { return state_->door->port(); }

std::vector<StreamStatus> GrpcServer::streams() const {
    std::vector<StreamStatus> list;
    std::lock_guard hold(state_->port.lock);
    for (Call* call : state_->port.calls)
        if (StreamStatus status; call->status(status)) list.push_back(std::move(status));
    return list;
}

}  // namespace culvert::xds
