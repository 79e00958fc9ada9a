// The transports of programs: delta discovery, certificates and reports over gRPC with TLS (X-1, X-3 to X-5,
// CA-1). gRPC's threads read and write; what they bring is posted to the executor. Make one before any thread
// enters a pod's namespace: gRPC's threads inherit the namespaces of who started them. Destructors wait for
// gRPC to let go.
//
// Every stream is a connection of its own: roots and token are read again for each. Certificates
// share a connection until the roots file changes (CA-1).
#pragma once
#include "lib/base/result.h"
#include "lib/xds/executor.h"
#include "lib/xds/transport.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace culvert::xds {

// Where the controller is and how it is trusted. A value from the environment (wire.md 8.1).
struct Endpoint {
    std::string address;           // "https://host:port"; a missing scheme is https
    std::string root_ca;           // a path if it exists, "SYSTEM", else PEM
    std::string alternative_name;  // ALT_XDS_HOSTNAME, ALT_CA_HOSTNAME; empty: none
    std::string token;             // a path if it exists, else the token itself; empty: no authorization
    std::string cluster = "Kubernetes";                        // clusterid
    std::vector<std::pair<std::string, std::string>> headers;  // XDS_HEADER_*, CA_HEADER_*: lower-case names
};

// At start-up, so that a mistake is named there: bad_configuration.
Result<Done> validate(const Endpoint& endpoint);

std::unique_ptr<DeltaTransport> grpc_delta_transport(Executor& executor, Endpoint endpoint);
std::unique_ptr<CaTransport> grpc_ca_transport(Executor& executor, Endpoint endpoint);
std::unique_ptr<ReportTransport> grpc_report_transport(Executor& executor, Endpoint endpoint);

}  // namespace culvert::xds
