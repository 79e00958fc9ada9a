#include "lib/xds/delta_client.h"

#include "lib/xds/resources.h"

#include <utility>

namespace culvert::xds {

std::vector<DeltaRequest> DeltaClient::opened() {
    std::vector<DeltaRequest> requests;
    for (Type type : types) {
        DeltaRequest request;
        request.node = node_;
        request.type_url = url(type);
        // Nothing in the lists: everything. What we hold goes along, so that only the difference comes
        //
        request.initial_versions = of(type).held.list();
        requests.push_back(std::move(request));
    }
    return requests;
}

bool DeltaClient::ready() const {
    for (const OfType& each : of_)
        if (!each.complete) return false;
    return true;
}

namespace {

// What removes the resource of this name from a delta that it may stand in already: one response may carry it
// twice.
void remove(Type type, std::string name, mesh::Delta& delta) {
    auto& removed = type == Type::address ? delta.removed_addresses : delta.removed_policies;
    removed.push_back(std::move(name));
}

Result<Done> take_address(const ReceivedResource& resource, mesh::Delta& delta) {
    TRY(AddressValue value, decode_address(resource.body));
    std::string key = std::visit([](const auto& each) { return name_of(each); }, value);
    // A removal names the resource. One that goes by another name could never be removed again.
    if (key != resource.name) return refuse(Reason::bad_input, "describes " + key);
    delta.addresses.push_back(std::move(value));
    return Done{};
}

Result<Done> take_policy(const ReceivedResource& resource, mesh::Delta& delta) {
    TRY(mesh::Policy value, decode_policy(resource.body));
    delta.policies.push_back({resource.name, std::move(value)});
    return Done{};
}

Result<Done> take(Type type, const ReceivedResource& resource, mesh::Delta& delta) {
    if (resource.name.empty()) return refuse(Reason::bad_input, "has no name");
    if (resource.type_url != url(type)) return refuse(Reason::bad_input, "is a " + resource.type_url);
    return type == Type::address ? take_address(resource, delta) : take_policy(resource, delta);
}

}  // namespace

void DeltaClient::take_resource(Type type, ReceivedResource resource, Taken& taken) {
    Result<Done> good = take(type, resource, taken.delta);
    Held& held = of(type).held;
    if (good) {
        held.set(resource.name, resource.version);
        return;
    }
    // Rejected: what we held before stays in force, and is reported without a version, so that a new stream
    // brings the resource again, or its removal. What we never held is not reported.
    if (held.contains(resource.name)) held.set(resource.name, "");
    taken.rejected.push_back(resource.name + ": " + good.error().text);
}

DeltaClient::Taken DeltaClient::received(DeltaResponse response) {
    Taken taken;
    taken.reply.type_url = response.type_url;
    taken.reply.nonce = std::move(response.nonce);
    std::optional<Type> type = type_of(response.type_url);
    if (!type) {
        taken.unknown_type = true;
        return taken;
    }
    for (ReceivedResource& resource : response.resources) take_resource(*type, std::move(resource), taken);
    for (std::string& name : response.removed) {  // after the resources
        of(*type).held.erase(name);
        remove(*type, std::move(name), taken.delta);
    }
    if (!taken.rejected.empty()) {
        std::string& text = taken.reply.error.emplace();
        for (const std::string& each : taken.rejected) {
            if (text.size() > error_text_max) {
                text += "; ...";
                break;
            }
            if (!text.empty()) text += "; ";
            text += each;
        }
        return taken;
    }
    if (response.more) return taken;  // what is missing yet must not look as if it did not exist
    bool was_ready = ready();
    of(*type).complete = true;
    (*type == Type::address ? taken.delta.addresses_complete : taken.delta.policies_complete) = true;
    taken.became_ready = !was_ready && ready();
    return taken;
}

}  // namespace culvert::xds
