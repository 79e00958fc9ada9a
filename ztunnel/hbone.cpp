#include "ztunnel/hbone.h"

#include "lib/mesh/headers.h"
#include "ztunnel/connections.h"

namespace culvert::ztunnel {

Hop hop_of(const Connection& connection, const mesh::WorkloadRecord& source, const mesh::Outbound& verdict) {
    return {
        .to = verdict.dial,
        .uid = verdict.workload ? std::string(verdict.workload->uid()) : "",
        .accepted = verdict.accepted,
        .source = connection.source.ip,
        .identity = source.identity(),
    };
}

h2::ConnectRequest connect_request(const Connection& connection, const mesh::WorkloadRecord& source,
                                   const mesh::Outbound& verdict, Random& random) {
    h2::ConnectRequest request;
    request.authority = verdict.authority.to_string();
    request.baggage = mesh::to_string(mesh::baggage_of(source));
    std::string_view host = verdict.service ? std::string_view(verdict.service->key.hostname) : "";
    request.forwarded = mesh::forwarded_header(connection.source, host);
    request.traceparent = mesh::TraceParent::fresh(random).to_string();
    return request;
}

h2::ConnectResponse connect_success(const mesh::WorkloadRecord& local, bool response_baggage) {
    h2::ConnectResponse response;
    if (response_baggage) response.baggage = mesh::to_string(mesh::baggage_of(local));
    return response;
}

}  // namespace culvert::ztunnel
