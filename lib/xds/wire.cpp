#include "lib/xds/wire.h"

#include "proto/ca.pb.h"
#include "proto/culvert/node/v1/report.pb.h"
#include "proto/discovery.pb.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/json_util.h>

#include <iterator>

namespace culvert::xds {

namespace {

namespace discovery = envoy::service::discovery::v3;
constexpr const char* impersonated = "ImpersonatedIdentity";  // CA-2

template <class List> std::vector<std::string> strings(List& from) {
    return {std::make_move_iterator(from.begin()), std::make_move_iterator(from.end())};
}

}  // namespace

std::string canonical(const google::protobuf::MessageLite& message) {
    std::string bytes;
    {
        google::protobuf::io::StringOutputStream stream(&bytes);
        google::protobuf::io::CodedOutputStream coded(&stream);
        coded.SetSerializationDeterministic(true);
        message.SerializeToCodedStream(&coded);
    }
    return bytes;
}

std::string resource_chunk(const Resource& resource, std::string_view body) {
    discovery::DeltaDiscoveryResponse one;
    auto& to = *one.add_resources();
    to.set_name(resource.name);
    to.set_version(resource.version);
    for (const std::string& alias : resource.aliases) to.add_aliases(alias);
    to.mutable_resource()->set_type_url(std::string(url(resource.type)));
    to.mutable_resource()->set_value(std::string(body));
    return canonical(one);  // one field, and so its tag, its length and its bytes
}

std::string push_tail(const Push& push) {
    discovery::DeltaDiscoveryResponse tail;
    tail.set_type_url(std::string(url(push.type)));
    tail.set_nonce(push.nonce);
    if (push.more) tail.set_system_version_info(std::string(more_follows));
    for (const std::string& name : push.removed) tail.add_removed_resources(name);
    return canonical(tail);
}

std::string push_bytes(const Push& push) {
    std::string bytes;
    for (const ResourcePtr& resource : push.resources) bytes += resource->chunk;
    return bytes + push_tail(push);
}

void put(const DeltaRequest& from, discovery::DeltaDiscoveryRequest& to) {
    if (from.node) {
        to.mutable_node()->set_id(from.node->id);
        to.mutable_node()->set_cluster(from.node->cluster);
        auto& fields = *to.mutable_node()->mutable_metadata()->mutable_fields();
        for (const auto& [name, value] : from.node->metadata) {
            if (!value.json || !google::protobuf::util::JsonStringToMessage(value.text, &fields[name]).ok())
                fields[name].set_string_value(value.text);  // JSON was checked when the node was made
        }
    }
    to.set_type_url(from.type_url);
    for (const std::string& name : from.subscribe) to.add_resource_names_subscribe(name);
    for (const std::string& name : from.unsubscribe) to.add_resource_names_unsubscribe(name);
    for (const auto& [name, version] : from.initial_versions)
        (*to.mutable_initial_resource_versions())[name] = version;
    to.set_response_nonce(from.nonce);
    if (from.error) to.mutable_error_detail()->set_message(*from.error);
}

Result<DeltaRequest> take(discovery::DeltaDiscoveryRequest& from) {
    DeltaRequest to;
    if (from.has_node()) {
        Node& node = to.node.emplace();
        node.id = std::move(*from.mutable_node()->mutable_id());
        node.cluster = std::move(*from.mutable_node()->mutable_cluster());
        for (const auto& [name, value] : from.node().metadata().fields()) {
            if (value.kind_case() == google::protobuf::Value::kStringValue) {
                node.metadata[name] = {value.string_value(), false};
                continue;
            }
            std::string text;
            if (google::protobuf::util::MessageToJsonString(value, &text).ok())
                node.metadata[name] = {std::move(text), true};
        }
    }
    to.type_url = std::move(*from.mutable_type_url());
    to.subscribe = strings(*from.mutable_resource_names_subscribe());
    to.unsubscribe = strings(*from.mutable_resource_names_unsubscribe());
    to.initial_versions.reserve(from.initial_resource_versions().size());
    for (auto& [name, version] : *from.mutable_initial_resource_versions())
        to.initial_versions.emplace_back(name, std::move(version));
    to.nonce = std::move(*from.mutable_response_nonce());
    if (from.has_error_detail()) to.error = std::move(*from.mutable_error_detail()->mutable_message());
    return to;
}

DeltaResponse take(discovery::DeltaDiscoveryResponse& from) {
    DeltaResponse to;
    to.bytes = from.ByteSizeLong();
    to.type_url = std::move(*from.mutable_type_url());
    to.nonce = std::move(*from.mutable_nonce());
    to.more = from.system_version_info() == more_follows;
    to.resources.reserve(static_cast<std::size_t>(from.resources_size()));
    for (auto& each : *from.mutable_resources()) {
        to.resources.push_back({std::move(*each.mutable_name()), std::move(*each.mutable_version()),
                                std::move(*each.mutable_resource()->mutable_type_url()),
                                std::move(*each.mutable_resource()->mutable_value())});
    }
    to.removed = strings(*from.mutable_removed_resources());
    return to;
}

void put(const SignRequest& from, istio::v1::auth::IstioCertificateRequest& to) {
    to.set_csr(from.csr);
    to.set_validity_duration(from.ttl.count());
    if (!from.impersonate.empty())
        (*to.mutable_metadata()->mutable_fields())[impersonated].set_string_value(from.impersonate);
}

Result<SignRequest> take(istio::v1::auth::IstioCertificateRequest& from) {
    SignRequest to;
    to.csr = std::move(*from.mutable_csr());
    to.ttl = std::chrono::seconds(from.validity_duration());
    const auto& fields = from.metadata().fields();
    if (auto at = fields.find(impersonated); at != fields.end()) {
        if (at->second.kind_case() != google::protobuf::Value::kStringValue)
            return refuse(Reason::bad_input, "ImpersonatedIdentity is no text");
        to.impersonate = at->second.string_value();
    }
    return to;
}

void put(const Report& from, culvert::node::v1::ReportRequest& to) {
    to.set_node(from.node);
    to.set_snapshot(from.snapshot);
    to.set_sequence(from.sequence);
    for (const PodReport& pod : from.pods) {
        auto& each = *to.add_pods();
        each.set_uid(pod.uid);
        each.set_namespace_(pod.name_space);
        each.set_name(pod.name);
        each.set_enrolled(pod.enrolled);
        each.set_reason(pod.reason);
        each.set_gone(pod.gone);
    }
}

Report take(culvert::node::v1::ReportRequest& from) {
    Report to{std::move(*from.mutable_node()), from.snapshot(), from.sequence(), {}};
    for (auto& pod : *from.mutable_pods()) {
        to.pods.push_back({std::move(*pod.mutable_uid()), std::move(*pod.mutable_namespace_()),
                           std::move(*pod.mutable_name()), pod.enrolled(), std::move(*pod.mutable_reason()),
                           pod.gone()});
    }
    return to;
}

std::string bytes_of(const DeltaRequest& request) {
    discovery::DeltaDiscoveryRequest message;
    put(request, message);
    return message.SerializeAsString();
}

Result<DeltaRequest> parse_request(std::string_view bytes) {
    discovery::DeltaDiscoveryRequest message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return refuse(Reason::bad_input, "a request that does not parse");
    return take(message);
}

Result<DeltaResponse> parse_response(std::string_view bytes) {
    discovery::DeltaDiscoveryResponse message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return refuse(Reason::bad_input, "a response that does not parse");
    return take(message);
}

}  // namespace culvert::xds
