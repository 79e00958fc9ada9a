#include "ztunnel/zds_message.h"

#include "lib/io/seqpacket.h"
#include "proto/zds.pb.h"

#include <algorithm>

namespace culvert::ztunnel::zds {
namespace {

namespace wire = istio::workload::zds;

constexpr std::size_t error_max = 900;  // leaves room for the envelope in a packet of 1,024 bytes (Z-4)

Buffer bytes_of(const google::protobuf::MessageLite& message) {
    std::string text = message.SerializeAsString();
    ConstBytes bytes = as_bytes(text);
    return {bytes.begin(), bytes.end()};
}

Result<Request> parse_add(const wire::AddWorkload& add, std::vector<Fd> descriptors) {
    if (descriptors.size() != 1)
        return refuse(Reason::bad_input,
                      "AddWorkload needs exactly one descriptor, the pod's network namespace");
    if (!add.has_workload_info()) return refuse(Reason::bad_input, "AddWorkload without workload_info");
    if (add.uid().empty()) return refuse(Reason::bad_input, "AddWorkload without uid");
    const wire::WorkloadInfo& info = add.workload_info();
    return Add{
        {add.uid(), info.name(), info.namespace_(), info.service_account(), std::move(descriptors.front())}};
}

}  // namespace

Result<Request> parse(ConstBytes packet, std::vector<Fd> descriptors) {
    wire::WorkloadRequest request;
    if (!request.ParseFromArray(packet.data(), static_cast<int>(packet.size())))
        return refuse(Reason::bad_input, "packet is no WorkloadRequest");
    if (request.has_add()) return parse_add(request.add(), std::move(descriptors));
    if (!descriptors.empty())
        return refuse(Reason::bad_input, "a descriptor came with a message that takes none");
    if (request.has_keep()) return Keep{request.keep().uid()};
    if (request.has_del()) return Delete{request.del().uid()};
    if (request.has_snapshot_sent()) return SnapshotSent{};
    return refuse(Reason::bad_input, "WorkloadRequest without a payload that this version knows");
}

Buffer hello() {
    wire::ZdsHello message;
    message.set_version(wire::Version::V1);
    return bytes_of(message);
}

Buffer response(std::string_view error) {
    wire::WorkloadResponse message;
    message.mutable_ack()->set_error(std::string(error.substr(0, error_max)));
    return bytes_of(message);
}

}  // namespace culvert::ztunnel::zds
