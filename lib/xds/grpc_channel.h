// How a channel to the controller is made: trust, names, token, timers. Private to lib/xds:
// gRPC's headers stay here. Safe from any thread; reads small files.
#pragma once
#include "lib/base/result.h"
#include "lib/xds/grpc_client.h"

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace culvert::xds {

// Once for the process, before its first channel or server: gRPC's and protobuf's messages go to our log
// (target grpc), and names are looked up by the C library, in whose order everybody else looks them up.
// c-ares, gRPC's own choice, also leaks a name with each look-up in the versions of Debian 12.
void prepare_grpc();

// "host:port" of an endpoint's address, and the host alone: what the certificate must name.
struct Target {
    std::string host_port;
    std::string host;
};
Result<Target> target(const Endpoint& endpoint);

// the PEM text to trust; empty: the operating system's store. Read from the file now.
Result<std::string> read_roots(const Endpoint& endpoint);

// A channel that shares its connection with no other: what it trusts is what `roots` say.
std::shared_ptr<grpc::Channel> make_channel(const Target& target, const Endpoint& endpoint,
                                            const std::string& roots);

// authorization, clusterid and extra headers of one call. The token is read from its file now.
Result<Done> add_metadata(const Endpoint& endpoint, grpc::ClientContext& context);

}  // namespace culvert::xds
