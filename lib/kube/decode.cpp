#include "lib/kube/decode.h"

#include <algorithm>
#include <array>

namespace culvert::kube {
namespace {

struct Reader {
    Kind kind;
    std::string_view group;  // "" is Kubernetes' core
    std::array<std::string_view, 3> versions;
    bool namespaced;
    Object (*read)(Fields&, Metadata);
};

constexpr std::array<Reader, kinds> readers{{
    {Kind::name_space, "", {"v1"}, false, decode_namespace},
    {Kind::node, "", {"v1"}, false, decode_node},
    {Kind::pod, "", {"v1"}, true, decode_pod},
    {Kind::service, "", {"v1"}, true, decode_service},
    {Kind::endpoint_slice, "discovery.k8s.io", {"v1"}, true, decode_endpoint_slice},
    {Kind::service_entry, "networking.istio.io", {"v1", "v1beta1", "v1alpha3"}, true, decode_service_entry},
    {Kind::authorization_policy, "security.istio.io", {"v1", "v1beta1"}, true, decode_authorization_policy},
    {Kind::peer_authentication, "security.istio.io", {"v1", "v1beta1"}, true, decode_peer_authentication},
}};

// Groups whose other kinds a user may well keep in the same directory: nothing is wrong with them, but
// nothing here acts on them.
constexpr std::array<std::string_view, 17> foreign_groups{"",
                                                          "apps",
                                                          "batch",
                                                          "autoscaling",
                                                          "policy",
                                                          "rbac.authorization.k8s.io",
                                                          "networking.k8s.io",
                                                          "storage.k8s.io",
                                                          "discovery.k8s.io",
                                                          "apiextensions.k8s.io",
                                                          "admissionregistration.k8s.io",
                                                          "networking.istio.io",
                                                          "security.istio.io",
                                                          "telemetry.istio.io",
                                                          "extensions.istio.io",
                                                          "gateway.networking.k8s.io",
                                                          "inference.networking.k8s.io"};
constexpr std::array<std::string_view, 10> foreign_core_kinds{"ConfigMap",
                                                              "Secret",
                                                              "ServiceAccount",
                                                              "PersistentVolume",
                                                              "PersistentVolumeClaim",
                                                              "ReplicationController",
                                                              "Endpoints",
                                                              "LimitRange",
                                                              "ResourceQuota",
                                                              "Event"};

struct ApiVersion {
    std::string_view group, version;
};
ApiVersion split(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return {"", text};
    return {text.substr(0, slash), text.substr(slash + 1)};
}

std::string api_versions(const Reader& reader) {
    std::string out;
    for (std::string_view version : reader.versions) {
        if (version.empty()) continue;
        if (!out.empty()) out += " or ";
        if (!reader.group.empty()) out += std::string(reader.group) + "/";
        out += version;
    }
    return out;
}

std::vector<Owner> decode_owners(Fields& metadata) {
    std::vector<Owner> owners;
    metadata.list("ownerReferences", [&](Fields& one) {
        one.known({"apiVersion", "blockOwnerDeletion"});
        owners.push_back(
            {one.text("kind"), one.text("name"), one.text("uid"), one.flag("controller", false)});
    });
    return owners;
}

bool is_of_uid(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

Metadata decode_metadata(Fields& document, const Reader& reader) {
    Fields fields = document.map("metadata");
    fields.known({"generateName", "selfLink", "resourceVersion", "generation", "deletionGracePeriodSeconds",
                  "finalizers", "managedFields", "clusterName"});
    Metadata out;
    out.name = fields.required("name");
    const bool label = reader.kind == Kind::name_space || reader.kind == Kind::service;
    if (!out.name.empty() && !is_dns_name(out.name, label))
        fields.error("name", "is no valid name", "use lower-case letters, digits and '-'");
    out.name_space = fields.text("namespace");
    if (!reader.namespaced && !out.name_space.empty()) {
        fields.error("namespace", "a " + std::string(word(reader.kind)) + " belongs to no namespace",
                     "remove it");
        out.name_space.clear();
    }
    if (reader.namespaced && out.name_space.empty()) out.name_space = "default";
    if (!out.name_space.empty() && !is_dns_name(out.name_space, true))
        fields.error("namespace", "is no valid name", "use lower-case letters, digits and '-'");
    out.uid = fields.text("uid");
    // It stands in ZDS, in reports and in files: "namespace/name@inode" of a pod without one is never its
    // like.
    if (out.uid.size() > 128 || !std::ranges::all_of(out.uid, is_of_uid))
        fields.error("uid", "is no uid: at most 128 letters, digits, '-', '_' and '.'");
    out.labels = fields.labels("labels");
    out.annotations = fields.annotations("annotations");
    out.created_s = fields.time("creationTimestamp");
    out.deleting = fields.time("deletionTimestamp").has_value();
    out.owners = decode_owners(fields);
    return out;
}

// What an object calls itself, for messages about its metadata.
Key presumed_key(const Value& object, const Reader& reader) {
    auto text = [&](std::string_view name) -> std::string {
        const Value* metadata = object.find("metadata");
        const Value* found = metadata ? metadata->find(name) : nullptr;
        return found ? found->text.substr(0, 253) : std::string();
    };
    std::string name_space = reader.namespaced ? text("namespace") : std::string();
    if (reader.namespaced && name_space.empty()) name_space = "default";
    return {reader.kind, std::move(name_space), text("name")};
}

void report_other_kind(Fields& document, const std::string& api_version, const std::string& kind) {
    std::vector<std::string_view> names;
    for (const Reader& reader : readers) names.push_back(word(reader.kind));
    const std::string_view group = split(api_version).group;
    const bool core = std::ranges::find(foreign_core_kinds, kind) != foreign_core_kinds.end();
    document.all_known();
    if (std::ranges::find(foreign_groups, group) != foreign_groups.end() && (core || !group.empty())) {
        document.warning("kind", kind + " is not read by this version: it has no effect here");
        return;
    }
    const std::string_view near = nearest(kind, names);
    document.error("kind",
                   "unknown kind \"" + kind.substr(0, 64) + "\" of apiVersion \"" +
                       api_version.substr(0, 64) + "\"",
                   near.empty() ? "" : "did you mean " + std::string(near) + "?");
}

void decode_one(const Value& value, const std::string& path, Problems& problems,
                std::vector<ObjectPtr>& objects) {
    problems.about("");
    const std::size_t errors_before = problems.errors();
    std::optional<Object> object;
    {
        Fields document(&value, path, value.line, problems);
        const std::string api_version = document.required("apiVersion"), kind = document.required("kind");
        const auto reader =
            std::ranges::find_if(readers, [&](const Reader& one) { return word(one.kind) == kind; });
        if (api_version.empty() || kind.empty()) {
            document.all_known();
            return;
        }
        if (reader == readers.end()) return report_other_kind(document, api_version, kind);
        problems.about(presumed_key(value, *reader).to_string());
        const auto [group, version] = split(api_version);
        if (group != reader->group || version.empty() ||
            std::ranges::find(reader->versions, version) == reader->versions.end())
            document.error("apiVersion",
                           kind + " is not known with apiVersion \"" + api_version.substr(0, 64) + "\"",
                           "use " + api_versions(*reader));
        Metadata metadata = decode_metadata(document, *reader);
        metadata.origin = {problems.file(), value.line};
        object = reader->read(document, std::move(metadata));
    }
    if (object && problems.errors() == errors_before)
        objects.push_back(std::make_shared<const Object>(*std::move(object)));
}

bool is_list(const Value& value) {
    const Value* kind = value.find("kind");
    const Value* items = value.find("items");
    return kind && kind->is(Value::Type::text) && kind->text.ends_with("List") && items &&
           items->is(Value::Type::list);
}

}  // namespace

void decode(const Value& document, Problems& problems, std::vector<ObjectPtr>& objects) {
    if (!document.is(Value::Type::map)) {
        problems.about("");
        problems.error(document.line, "", "a document must be an object with apiVersion and kind",
                       "check the indentation and the lines with ---");
        return;
    }
    if (!is_list(document)) return decode_one(document, "", problems, objects);
    for (std::size_t i = 0; i < document.find("items")->items.size(); ++i) {
        const Value& item = document.find("items")->items[i];
        decode_one(item, "items[" + std::to_string(i) + "]", problems, objects);
    }
}

std::optional<Labels> decode_selector(Fields& spec) {
    if (!spec.has("selector")) return {};
    Fields selector = spec.map("selector");
    return selector.labels("matchLabels");
}

}  // namespace culvert::kube
