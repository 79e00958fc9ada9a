// The calls of the controller's gRPC port, on gRPC's callback API: discovery streams, report streams,
// certificate requests. All arrive at one generic service, which asks for the bearer token before a single
// byte of the call is read. Private to lib/xds.
//
// A call's caller is judged when it begins, and every few seconds while it goes on.
//
// A call belongs to gRPC until OnDone and to whoever still owes it an answer. Its lock is taken by gRPC's
// threads and by the pusher; it is never held while a handler runs that could wait.
#pragma once
#include "lib/base/metrics.h"
#include "lib/xds/delta_server.h"
#include "lib/xds/grpc_server.h"
#include "lib/xds/handlers.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace culvert::xds {

enum class CallKind : std::uint8_t { discovery, report, certificate };
std::string_view word(CallKind kind);

class Call;

// What the calls share. Outlives them.
struct Port {
    Port(ServerOptions options, Handlers handlers, Registry& metrics)
        : options(std::move(options)), handlers(handlers), metrics(metrics) {}

    SnapshotPtr snapshot() const {
        std::lock_guard hold(snapshot_lock);
        return published;
    }
    // Admits one more call of this kind for this node, or says which bound it has reached.
    Result<Done> enter(CallKind kind, const std::string& node, Call& call);
    void leave(CallKind kind, const std::string& node, Call& call);
    void refused(const Error& error, const std::string& peer);

    const ServerOptions options;
    const Handlers handlers;
    Registry& metrics;
    std::function<void(const std::string& peer)>
        proven;  // a call with a good token came; set before any comes
    mutable std::mutex snapshot_lock;
    SnapshotPtr published;    // null until the first publish(): streams wait, an empty mesh would be a lie
    mutable std::mutex lock;  // taken before a call's own
    std::set<Call*> calls;
    std::map<std::pair<CallKind, std::string>, std::size_t> of_node;
    std::array<std::size_t, 3> of_kind{};
};

class Call : public grpc::ServerGenericBidiReactor, public std::enable_shared_from_this<Call> {
public:
    Call(Port& port, CallKind kind, Caller caller) : port_(port), kind_(kind), caller_(std::move(caller)) {}
    Result<Done> enter();   // counted, or refused with `limit`
    void start();           // afterwards
    virtual void wake() {}  // a new snapshot; holds Port::lock
    void judge_again();     // ends it if its caller may not call any more; holds Port::lock
    virtual bool status(StreamStatus&) { return false; }

protected:
    virtual void message(grpc::ByteBuffer& bytes) = 0;  // without the lock; one at a time
    virtual void written() = 0;                         // with the lock held

    // With the lock held. After end() they do nothing.
    void read_next();
    void write(grpc::ByteBuffer bytes);
    void end(const grpc::Status& status);
    bool writing() const { return writing_; }
    bool ended() const { return ended_; }

    Port& port_;
    const CallKind kind_;
    const Caller caller_;
    std::mutex lock_;

private:
    void OnReadDone(bool ok) override;
    void OnWriteDone(bool ok) override;
    void OnCancel() override;
    void OnDone() override;

    grpc::ByteBuffer incoming_;
    grpc::ByteBuffer outgoing_;
    bool writing_ = false;
    bool ended_ = false;
    std::shared_ptr<Call> self_;  // while gRPC holds it
};

// The call for a path, or the status with which it is refused.
grpc::ServerGenericBidiReactor* answer_call(Port& port, grpc::GenericCallbackServerContext& context);

}  // namespace culvert::xds
