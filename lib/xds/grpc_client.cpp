#include "lib/xds/grpc_client.h"

#include "lib/base/log.h"
#include "lib/xds/grpc_channel.h"
#include "lib/xds/grpc_stream.h"
#include "lib/xds/wire.h"
#include "proto/ca.grpc.pb.h"
#include "proto/culvert/node/v1/report.grpc.pb.h"
#include "proto/discovery.grpc.pb.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>

namespace culvert::xds {

namespace {

namespace discovery = envoy::service::discovery::v3;
namespace auth = istio::v1::auth;
namespace node = culvert::node::v1;

// CA-1 names no deadline (W-2): the time to connect, and as much again for the controller to look callers up.
constexpr std::chrono::seconds sign_deadline{15};

// A new connection for each stream, so that new roots count at once.
template <class Stream, class Begin> void begin(const Endpoint& endpoint, Stream& stream, Begin bind) {
    auto to = target(endpoint);
    auto roots = to ? read_roots(endpoint) : refuse(std::move(to));
    auto metadata = roots ? add_metadata(endpoint, stream.context()) : refuse(std::move(roots));
    if (!metadata) return stream.fail(metadata.error().text);
    auto channel = make_channel(*to, endpoint, *roots);
    stream.own(channel);
    bind(channel);
    stream.start();
}

class GrpcDelta final : public DeltaTransport {
    using Stream = ClientStream<discovery::DeltaDiscoveryRequest, discovery::DeltaDiscoveryResponse>;

public:
    GrpcDelta(Executor& executor, Endpoint endpoint) : executor_(executor), endpoint_(std::move(endpoint)) {}
    ~GrpcDelta() override {
        if (stream_) stream_->detach();
    }
    void open(Events& events) override {
        if (stream_) stream_->detach();
        stream_ = std::make_shared<Stream>(
            executor_,
            [&events](discovery::DeltaDiscoveryResponse& message) { events.received(take(message)); },
            [&events](StreamEnd end) { events.closed(std::move(end)); });
        begin(endpoint_, *stream_, [&](const std::shared_ptr<grpc::Channel>& channel) {
            discovery::AggregatedDiscoveryService::Stub(channel).async()->DeltaAggregatedResources(
                &stream_->context(), stream_.get());
        });
    }
    void send(DeltaRequest request) override {
        discovery::DeltaDiscoveryRequest message;
        put(request, message);
        stream_->send(std::move(message));
    }
    void close() override { stream_->cancel(); }

private:
    Executor& executor_;
    Endpoint endpoint_;
    std::shared_ptr<Stream> stream_;
};

class GrpcReport final : public ReportTransport {
    using Stream = ClientStream<node::ReportRequest, node::ReportResponse>;

public:
    GrpcReport(Executor& executor, Endpoint endpoint) : executor_(executor), endpoint_(std::move(endpoint)) {}
    ~GrpcReport() override {
        if (stream_) stream_->detach();
    }
    void open(Events& events) override {
        if (stream_) stream_->detach();
        stream_ = std::make_shared<Stream>(
            executor_, [&events](node::ReportResponse& message) { events.acknowledged(message.sequence()); },
            [&events](StreamEnd end) { events.closed(std::move(end)); });
        begin(endpoint_, *stream_, [&](const std::shared_ptr<grpc::Channel>& channel) {
            node::Report::Stub(channel).async()->Enrolment(&stream_->context(), stream_.get());
        });
    }
    void send(Report report) override {
        node::ReportRequest message;
        put(report, message);
        stream_->send(std::move(message));
    }
    void close() override { stream_->cancel(); }

private:
    Executor& executor_;
    Endpoint endpoint_;
    std::shared_ptr<Stream> stream_;
};

Error sign_error(const grpc::Status& status) {
    Reason reason = Reason::ca_rejected;
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) reason = Reason::unreachable;
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) reason = Reason::timed_out;
    return {reason, status.error_code(), status.error_message()};
}

class GrpcCa final : public CaTransport {
    struct Call {
        std::shared_ptr<grpc::Channel> channel;
        grpc::ClientContext context;
        auth::IstioCertificateRequest request;
        auth::IstioCertificateResponse response;
        SignAnswer answer;
        bool landed = false;
    };
    // Calls that gRPC has, or that the executor has not answered yet. Destroyed there or with this object,
    // never on gRPC's threads (grpc_stream.h says why).
    struct Flights {
        std::mutex lock;
        std::condition_variable landed;
        std::set<std::shared_ptr<Call>> calls;
    };

public:
    GrpcCa(Executor& executor, Endpoint endpoint) : executor_(executor), endpoint_(std::move(endpoint)) {}
    ~GrpcCa() override {
        *alive_ = false;
        std::unique_lock hold(flights_.lock);
        for (const auto& call : flights_.calls) call->context.TryCancel();
        flights_.landed.wait(hold, [this] {
            return std::ranges::all_of(flights_.calls, [](const auto& call) { return call->landed; });
        });
    }

    void sign(SignRequest request, SignAnswer answer) override {
        auto call = std::make_shared<Call>();
        call->answer = std::move(answer);
        put(request, call->request);
        {
            std::lock_guard hold(flights_.lock);
            flights_.calls.insert(call);
        }
        if (Result<Done> ready = prepare(*call); !ready) return finish(call, ready.error());
        // tidy: gRPC's deadlines are wall time.
        call->context.set_deadline(std::chrono::system_clock::now() + sign_deadline);
        auth::IstioCertificateService::Stub stub(call->channel);
        stub.async()->CreateCertificate(&call->context, &call->request, &call->response,
                                        [this, weak = std::weak_ptr(call)](const grpc::Status& status) {
                                            auto held = weak.lock();
                                            std::optional<Error> error;
                                            if (!status.ok()) error = sign_error(status);
                                            finish(held, std::move(error));
                                        });
    }

private:
    // CA-1: the connection is kept until the roots change; if the new ones cannot be read, the old connection
    // serves.
    Result<Done> prepare(Call& call) {
        TRY(Target to, target(endpoint_));
        Result<std::string> roots = read_roots(endpoint_);
        if (!roots && !channel_) return refuse(std::move(roots));
        if (!roots) log::warn("ca", "roots cannot be read", {log::text("error", roots.error().text)});
        if (roots && (!channel_ || *roots != roots_ || broken_)) {
            broken_ = false;
            channel_ = make_channel(to, endpoint_, *roots);
            roots_ = *roots;
        }
        call.channel = channel_;
        return add_metadata(endpoint_, call.context);
    }
    // On gRPC's thread, or on the executor. `call` is not the last to hold it: `flights_` does until the
    // executor, or our destructor after this, lets go.
    void finish(std::shared_ptr<Call>& call, std::optional<Error> error) {
        if (error && error->reason == Reason::unreachable) broken_ = true;  // the next request dials anew
        executor_.post(
            [this, alive = alive_, held = std::weak_ptr(call), error = std::move(error)]() mutable {
                if (*alive) deliver(held.lock(), std::move(error));
            });
        std::lock_guard hold(flights_.lock);
        call->landed = true;
        call.reset();
        flights_.landed.notify_all();
    }
    void deliver(std::shared_ptr<Call> call, std::optional<Error> error) {
        {
            std::unique_lock hold(flights_.lock);
            flights_.landed.wait(hold, [&] { return call->landed; });  // gRPC's thread is about to say so
            flights_.calls.erase(call);
        }
        if (error) return call->answer(std::unexpected(*std::move(error)));
        auto& chain = *call->response.mutable_cert_chain();
        call->answer(std::vector<std::string>(std::make_move_iterator(chain.begin()),
                                              std::make_move_iterator(chain.end())));
    }

    Executor& executor_;
    Endpoint endpoint_;
    std::shared_ptr<grpc::Channel> channel_;
    std::string roots_;
    std::atomic<bool> broken_ = false;
    std::shared_ptr<std::atomic<bool>> alive_ = std::make_shared<std::atomic<bool>>(true);
    Flights flights_;
};

}  // namespace

std::unique_ptr<DeltaTransport> grpc_delta_transport(Executor& executor, Endpoint endpoint) {
    prepare_grpc();
    return std::make_unique<GrpcDelta>(executor, std::move(endpoint));
}

std::unique_ptr<CaTransport> grpc_ca_transport(Executor& executor, Endpoint endpoint) {
    prepare_grpc();
    return std::make_unique<GrpcCa>(executor, std::move(endpoint));
}

std::unique_ptr<ReportTransport> grpc_report_transport(Executor& executor, Endpoint endpoint) {
    prepare_grpc();
    return std::make_unique<GrpcReport>(executor, std::move(endpoint));
}

}  // namespace culvert::xds
