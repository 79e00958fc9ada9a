#include "lib/xds/grpc_calls.h"

#include "lib/base/log.h"
#include "lib/xds/wire.h"
#include "proto/ca.pb.h"
#include "proto/culvert/node/v1/report.pb.h"
#include "proto/discovery.pb.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>

namespace culvert::xds {

namespace {

constexpr std::size_t report_pods_max = 16'384;  // docs/limits.md: report.pods

template <class Message> bool parse(grpc::ByteBuffer& bytes, Message& message) {
    if (!bytes.Valid()) return message.ParseFromString("");
    grpc::ProtoBufferReader reader(&bytes);
    return message.ParseFromZeroCopyStream(&reader);
}

grpc::ByteBuffer one_slice(const std::string& bytes) {
    grpc::Slice slice(bytes);
    return grpc::ByteBuffer(&slice, 1);
}

// The chunks of a push are not copied: each slice holds its resource until gRPC has sent it.
grpc::ByteBuffer shared_slices(const Push& push) {
    std::vector<grpc::Slice> slices;
    slices.reserve(push.resources.size() + 1);
    for (const ResourcePtr& resource : push.resources) {
        auto* holder = new ResourcePtr(resource);
        slices.emplace_back(
            const_cast<char*>(resource->chunk.data()), resource->chunk.size(),
            [](void* held) { delete static_cast<ResourcePtr*>(held); }, holder);
    }
    slices.emplace_back(push_tail(push));
    return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::Status status_of(const Error& error) {
    switch (error.reason) {
    case Reason::bad_input: return {grpc::StatusCode::INVALID_ARGUMENT, error.text};
    case Reason::limit: return {grpc::StatusCode::RESOURCE_EXHAUSTED, error.text};
    // CA-6: the caller learns no more than that.
    case Reason::tls_identity:
    case Reason::ca_rejected:
        return {grpc::StatusCode::UNAUTHENTICATED, "request impersonation authentication failure"};
    case Reason::token_rejected: return {grpc::StatusCode::UNAUTHENTICATED, "authentication failure"};
    case Reason::permission: return {grpc::StatusCode::PERMISSION_DENIED, error.text};
    case Reason::unsupported: return {grpc::StatusCode::UNIMPLEMENTED, error.text};
    default: return {grpc::StatusCode::UNAVAILABLE, error.text};
    }
}

class DiscoveryCall final : public Call {
public:
    using Call::Call;
    void wake() override {
        std::lock_guard hold(lock_);
        push();
    }
    bool status(StreamStatus& to) override {
        std::lock_guard hold(lock_);
        const SnapshotPtr now = port_.snapshot();
        to = {caller_.node, stream_.node().id, caller_.peer, now && stream_.synced(*now), rejected_, error_};
        return true;
    }

private:
    void message(grpc::ByteBuffer& bytes) override {
        envoy::service::discovery::v3::DeltaDiscoveryRequest request;
        Result<DeltaRequest> taken = parse(bytes, request)
                                         ? take(request)
                                         : refuse(Reason::bad_input, "a request that does not parse");
        bytes.Clear();
        std::lock_guard hold(lock_);
        auto heard = taken ? stream_.received(*std::move(taken)) : refuse(std::move(taken));
        if (!heard) {
            port_.refused(heard.error(), caller_.peer);
            return end(status_of(heard.error()));
        }
        note(*heard);
        push();
        read_next();
    }
    void written() override { push(); }
    void push() {
        if (writing() || ended()) return;
        const SnapshotPtr now = port_.snapshot();
        if (!now) return;
        auto next = stream_.next(now);
        if (!next) return;
        Labels labels{{"type", std::string(word(next->type))}};
        port_.metrics.counter("culvert_xds_pushes", "Discovery responses sent", labels).add();
        port_.metrics.counter("culvert_xds_pushed_resources", "Resources in them", labels)
            .add(next->resources.size());
        write(shared_slices(*next));
    }
    void note(const DeltaStream::Heard& heard) {
        if (!heard.type)
            log::warn("xds", "a client asks for an unknown type", {log::text("node", caller_.node)});
        if (!heard.error) return;
        ++rejected_;
        error_ = heard.error->substr(0, error_text_max);
        port_.metrics
            .counter("culvert_xds_nacks", "Discovery responses of which clients refused a part",
                     {{"type", std::string(word(*heard.type))}})
            .add();
        log::warn("xds", "a client rejected resources",
                  {log::text("node", caller_.node), log::text("error", error_)});
    }

    static constexpr std::size_t error_text_max = 8 * 1024;
    DeltaStream stream_;
    std::uint64_t rejected_ = 0;
    std::string error_;
};

class ReportCall final : public Call {
public:
    using Call::Call;

private:
    // One report at a time: the next is read when this one is in force and has been acknowledged.
    void message(grpc::ByteBuffer& bytes) override {
        culvert::node::v1::ReportRequest request;
        if (!parse(bytes, request)) return stop({Reason::bad_input, 0, "a report that does not parse"});
        bytes.Clear();
        if (request.pods_size() > static_cast<int>(report_pods_max))
            return stop({Reason::limit, 0, "too many pods"});
        if (request.node() != caller_.node)
            return stop({Reason::permission, 0, "the token is of node " + caller_.node});
        std::uint64_t sequence = request.sequence();
        port_.handlers.report->report(
            caller_, take(request),
            [self = shared_from_this(), this, sequence](Result<Done> done) { answer(sequence, done); });
    }
    void answer(std::uint64_t sequence, const Result<Done>& done) {
        culvert::node::v1::ReportResponse response;
        response.set_sequence(sequence);
        std::lock_guard hold(lock_);
        if (!done) return end(status_of(done.error()));
        write(one_slice(response.SerializeAsString()));
    }
    void written() override { read_next(); }
    void stop(const Error& error) {
        port_.refused(error, caller_.peer);
        std::lock_guard hold(lock_);
        end(status_of(error));
    }
};

class CertificateCall final : public Call {
public:
    using Call::Call;

private:
    void message(grpc::ByteBuffer& bytes) override {
        istio::v1::auth::IstioCertificateRequest request;
        Result<SignRequest> taken = parse(bytes, request)
                                        ? take(request)
                                        : refuse(Reason::bad_input, "a request that does not parse");
        bytes.Clear();
        if (!taken) return answer(refuse(std::move(taken)));
        port_.handlers.ca->sign(caller_, *std::move(taken),
                                [self = shared_from_this(), this](Result<std::vector<std::string>> chain) {
                                    answer(std::move(chain));
                                });
    }
    void written() override { end(grpc::Status::OK); }
    void answer(Result<std::vector<std::string>> chain) {
        std::lock_guard hold(lock_);
        if (ended()) return;  // also the server may be gone
        port_.metrics
            .counter("culvert_ca_requests", "Certificate requests, by why they were refused",
                     {{"reason", std::string(word(chain ? Reason::none : chain.error().reason))}})
            .add();
        if (!chain) {
            log::warn("ca", "a certificate was refused",
                      {log::text("node", caller_.node), log::text("error", chain.error().to_string())});
            return end(status_of(chain.error()));
        }
        istio::v1::auth::IstioCertificateResponse response;
        for (std::string& pem : *chain) response.add_cert_chain(std::move(pem));
        write(one_slice(response.SerializeAsString()));
    }
};

// Refused before anything of the call was read.
class Refusal final : public grpc::ServerGenericBidiReactor {
public:
    explicit Refusal(const grpc::Status& status) { Finish(status); }
    void OnDone() override { delete this; }
};

std::string_view bearer(const grpc::GenericCallbackServerContext& context) {
    auto [from, to] = context.client_metadata().equal_range("authorization");
    constexpr std::string_view prefix = "Bearer ";
    for (auto at = from; at != to; ++at) {
        std::string_view value(at->second.data(), at->second.size());
        if (value.starts_with(prefix)) return value.substr(prefix.size());
    }
    return {};
}

Result<std::shared_ptr<Call>> make_call(Port& port, grpc::GenericCallbackServerContext& context) {
    const std::string& path = context.method();
    const std::string peer = context.peer();
    TRY(Caller caller, port.handlers.authenticator->authenticate({bearer(context), peer}));
    port.proven(peer);
    if (path == "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")
        return std::make_shared<DiscoveryCall>(port, CallKind::discovery, std::move(caller));
    if (path == "/istio.v1.auth.IstioCertificateService/CreateCertificate" && port.handlers.ca)  // CA-1
        return std::make_shared<CertificateCall>(port, CallKind::certificate, std::move(caller));
    if (path == "/culvert.node.v1.Report/Enrolment" && port.handlers.report)
        return std::make_shared<ReportCall>(port, CallKind::report, std::move(caller));
    return refuse(Reason::unsupported, "no such method");
}

}  // namespace

std::string_view word(CallKind kind) {
    switch (kind) {
    case CallKind::discovery: return "discovery";
    case CallKind::report: return "report";
    case CallKind::certificate: return "certificate";
    }
    return {};
}

Result<Done> Port::enter(CallKind kind, const std::string& node, Call& call) {
    std::lock_guard hold(lock);
    std::size_t& all = of_kind[static_cast<std::size_t>(kind)];
    std::size_t& of = of_node[{kind, node}];
    bool certificate = kind == CallKind::certificate;
    if (all >= (certificate ? options.signing_max : options.streams_max))
        return refuse(Reason::limit, "too many calls of kind " + std::string(word(kind)));
    if (of >= (certificate ? options.signing_of_node_max : options.streams_of_node_max))
        return refuse(Reason::limit, "too many calls of kind " + std::string(word(kind)) + " of this node");
    ++all;
    ++of;
    calls.insert(&call);
    metrics
        .gauge("culvert_xds_calls", "Calls in progress on the gRPC port", {{"kind", std::string(word(kind))}})
        .add(1);
    return Done{};
}

void Port::leave(CallKind kind, const std::string& node, Call& call) {
    std::lock_guard hold(lock);
    --of_kind[static_cast<std::size_t>(kind)];
    auto of = of_node.find({kind, node});
    if (--of->second == 0) of_node.erase(of);
    calls.erase(&call);
    metrics
        .gauge("culvert_xds_calls", "Calls in progress on the gRPC port", {{"kind", std::string(word(kind))}})
        .add(-1);
}

void Port::refused(const Error& error, const std::string& peer) {
    metrics
        .counter("culvert_xds_refused", "Calls on the gRPC port that were refused",
                 {{"reason", std::string(word(error.reason))}})
        .add();
    log::warn("xds", "call refused", {log::text("peer", peer), log::text("error", error.to_string())});
}

grpc::ServerGenericBidiReactor* answer_call(Port& port, grpc::GenericCallbackServerContext& context) {
    Result<std::shared_ptr<Call>> call = make_call(port, context);
    if (call)
        if (auto entered = (*call)->enter(); !entered) call = refuse(std::move(entered));
    if (!call) {
        port.refused(call.error(), context.peer());
        return new Refusal(status_of(call.error()));
    }
    (*call)->start();
    return call->get();
}

Result<Done> Call::enter() { return port_.enter(kind_, caller_.node, *this); }

void Call::start() {
    self_ = shared_from_this();
    std::lock_guard hold(lock_);
    read_next();
}

void Call::judge_again() {
    Result<Done> still = port_.handlers.authenticator->still(caller_);
    if (still) return;
    std::lock_guard hold(lock_);
    if (ended()) return;
    log::warn("xds", "call ended: its caller may not call any more",
              {log::text("peer", caller_.peer), log::text("error", still.error().to_string())});
    end(status_of(still.error()));
}

void Call::write(grpc::ByteBuffer bytes) {
    if (ended_ || writing_) return;
    outgoing_.Swap(&bytes);
    writing_ = true;
    StartWrite(&outgoing_);
}

void Call::end(const grpc::Status& status) {
    if (std::exchange(ended_, true)) return;
    Finish(status);
}

void Call::read_next() {
    if (!ended_) StartRead(&incoming_);
}

void Call::OnReadDone(bool ok) {
    if (ok) return message(incoming_);
    std::lock_guard hold(lock_);
    end(grpc::Status::OK);  // the client has said all, or is gone; it waits for nothing of ours
}

void Call::OnWriteDone(bool ok) {
    std::lock_guard hold(lock_);
    writing_ = false;
    outgoing_.Clear();
    if (ok && !ended_) written();
}

void Call::OnCancel() {
    std::lock_guard hold(lock_);
    end(grpc::Status::CANCELLED);
}

void Call::OnDone() {
    port_.leave(kind_, caller_.node, *this);
    auto last = std::move(self_);
}

}  // namespace culvert::xds
