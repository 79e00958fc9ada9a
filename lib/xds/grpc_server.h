// The controller's one gRPC port (15012): delta discovery, certificates and reports behind TLS and a bearer
// token. gRPC's threads run the streams, each stream one thread at a time; publish() hands a snapshot over
// and returns.
//
// Bounds (docs/limits.md): streams in all and of one node, bytes of a message, names of a subscription,
// handshake time. A stream beyond a bound is refused with RESOURCE_EXHAUSTED and counted:
// culvert_xds_refused_total{reason}.
#pragma once
#include "lib/base/metrics.h"
#include "lib/base/result.h"
#include "lib/xds/handlers.h"
#include "lib/xds/snapshot.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace culvert::xds {

struct ServerOptions {
    std::string listen = "[::]:15012";  // port 0: any
    // PEM files, read again every `reload_seconds`: a renewed certificate needs no restart.
    std::string key_file;
    std::string chain_file;
    unsigned reload_seconds = 10;
    unsigned judge_seconds = 5;      // a call whose token or node has gone ends within this
    std::size_t streams_max = 8192;  // discovery and report streams in all
    std::size_t streams_of_node_max =
        8;  // of one kind: an upgrade runs two ztunnels, a reconnect leaves a dead one
    std::size_t connections_max = 16'384;
    // Connections without a call with a good token yet, and how long one may stay so.
    std::size_t unproven_max = 2'048;
    unsigned unproven_seconds = 20;
    std::size_t request_bytes_max = 64u << 20;
    std::size_t signing_max = 1024;  // certificate requests that wait for their answer
    std::size_t signing_of_node_max =
        32;  // of them of one node: a ztunnel has 8 on their way (CA-7), two overlap
};

// One discovery stream, for `culvert status`.
struct StreamStatus {
    std::string node;  // of the token
    std::string id;    // what the client calls itself
    std::string peer;
    bool synced = false;  // has acknowledged everything that is published
    std::uint64_t rejected = 0;
    std::string last_error;  // of its last NACK
};

class GrpcServer {
public:
    // Refusals: bad_configuration (files), io (port busy); the text names the fix.
    static Result<std::unique_ptr<GrpcServer>> start(ServerOptions options, Handlers handlers,
                                                     Registry& metrics);
    ~GrpcServer();  // ends every stream; handlers are not called afterwards
    GrpcServer(const GrpcServer&) = delete;

    // From any thread. Before the first one discovery streams get no answer: a controller that has not read
    // its objects yet must not tell its nodes that there are none.
    void publish(SnapshotPtr snapshot);
    std::uint16_t port() const;
    std::vector<StreamStatus> streams() const;

private:
    class State;
    explicit GrpcServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace culvert::xds
