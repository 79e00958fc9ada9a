// What a node or a controller gone wrong may send: requests into a server's stream, responses into a client,
// resources into the translation. Nothing crashes; whatever is accepted says the same after a way through our
// own encoding.
#include "lib/base/check.h"
#include "lib/xds/delta_client.h"
#include "lib/xds/delta_server.h"
#include "lib/xds/grpc_channel.h"
#include "lib/xds/resources.h"
#include "lib/xds/wire.h"

using namespace culvert;

namespace {

xds::SnapshotPtr world() {
    xds::Publisher publisher;
    mesh::Workload workload;
    workload.uid = "Kubernetes//Pod/a/b";
    workload.addresses = {*Ip::parse("10.0.0.1")};
    workload.node = "n";
    workload.services[{"a", "s"}] = {{80, 80, 0}};
    mesh::Service service;
    service.name_space = "a";
    service.hostname = "s";
    service.vips = {{"", *Cidr::parse("10.96.0.1")}};
    mesh::Policy policy;
    policy.name = "p";
    policy.name_space = "a";
    publisher.set(xds::encode(workload));
    publisher.set(xds::encode(service));
    publisher.set(xds::encode(policy));
    return publisher.publish();
}

void serve(std::string_view bytes) {
    static const xds::SnapshotPtr snapshot = world();
    auto request = xds::parse_request(bytes);
    if (!request) return;
    check(xds::parse_request(xds::bytes_of(*request)).has_value());
    xds::DeltaStream stream;
    if (!stream.received(*request)) return;
    for (int i = 0; i < 8; ++i) {
        auto push = stream.next(snapshot);
        if (!push) break;
        check(xds::parse_response(xds::push_bytes(*push)).has_value());
        xds::DeltaRequest answer;
        answer.type_url = xds::url(push->type);
        answer.nonce = push->nonce;
        check(stream.received(answer).has_value());
    }
    check(!stream.next(snapshot));
}

void follow(std::string_view bytes) {
    auto response = xds::parse_response(bytes);
    if (!response) return;
    xds::DeltaClient client({"ztunnel~1", "", {}});
    std::size_t sent = response->resources.size();
    auto taken = client.received(*std::move(response));
    check(taken.unknown_type ||
          taken.delta.addresses.size() + taken.delta.policies.size() + taken.rejected.size() == sent);
    client.opened();
    mesh::DirectoryWriter().apply(taken.delta);
}

void translate(std::string_view bytes) {
    if (auto value = xds::decode_address(bytes)) {
        std::string again = std::visit([](const auto& each) { return xds::body_of(each); }, *value);
        check(xds::decode_address(again) == value);
    }
    if (auto policy = xds::decode_policy(bytes)) check(xds::decode_policy(xds::body_of(*policy)) == policy);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    xds::prepare_grpc();  // takes protobuf's complaints
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    serve(bytes);
    follow(bytes);
    translate(bytes);
    return 0;
}
