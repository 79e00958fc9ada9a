#include "ztunnel/telemetry.h"

#include "lib/mesh/headers.h"

#include <functional>

namespace culvert::ztunnel {

namespace {

// One end of a connection in the words of M-2.
struct End {
    std::string workload, canonical_name, canonical_revision, name_space, principal, cluster, region, zone;
    bool known = false;
};

End end_of(const mesh::WorkloadPtr& record) {
    const mesh::Workload& kind = record->kind();
    const mesh::Locality& at = record->locality();
    return {kind.workload_name,
            kind.canonical_name,
            kind.canonical_revision,
            kind.name_space,
            {},
            kind.cluster_id,
            at.region,
            at.zone,
            true};
}

End end_of(std::string_view baggage) {
    const mesh::Baggage said = mesh::parse_baggage(std::span(&baggage, 1));
    return {said.workload_name, said.service_name, said.revision, said.name_space, {},
            said.cluster,       said.region,       said.zone,     !baggage.empty()};
}

class LabelList {
public:
    void add(std::string_view name, std::string_view value) {
        labels_.emplace_back(name, value.empty() ? "unknown" : value);
    }
    void add_end(const std::string& side, const End& end) {
        add(side + "_workload", end.workload);
        add(side + "_canonical_service", end.canonical_name);
        add(side + "_canonical_revision", end.canonical_revision);
        add(side + "_workload_namespace", end.name_space);
        add(side + "_principal", end.principal);
        add(side + "_app", end.canonical_name);
        add(side + "_version", end.canonical_revision);
        add(side + "_cluster", end.cluster);
    }
    Labels take() { return std::move(labels_); }

private:
    Labels labels_;
};

std::string identity_text(const mesh::WorkloadPtr& record) {
    return record ? record->identity().to_string() : "";
}

End source_of(const Ends& ends) {
    End end = ends.source ? end_of(ends.source) : end_of(ends.baggage);
    end.principal = ends.source_identity;
    return end;
}

End destination_of(const Ends& ends) {
    End end = ends.destination ? end_of(ends.destination) : End{};
    if (ends.mutual_tls) end.principal = identity_text(ends.destination);
    return end;
}

constexpr std::string_view flag_label = "response_flags";
constexpr std::string_view closed_name = "istio_tcp_connections_closed";
constexpr std::string_view closed_help = "The total number of TCP connections closed";

Labels labels_of(const Ends& ends) {
    const End source = source_of(ends);
    const End destination = destination_of(ends);
    const mesh::Service* service = ends.service.get();
    LabelList labels;
    labels.add("reporter", ends.direction == Direction::outbound ? "source" : "destination");
    labels.add_end("source", source);
    labels.add("destination_service", service ? service->hostname : "");
    labels.add("destination_service_namespace", service ? service->name_space : "");
    labels.add("destination_service_name", service ? service->name : "");
    labels.add_end("destination", destination);
    labels.add("request_protocol", "tcp");
    labels.add(flag_label, "-");
    labels.add("connection_security_policy", ends.mutual_tls ? "mutual_tls" : "");
    if (source.known || destination.known) {
        labels.add("source_region", source.region);
        labels.add("source_zone", source.zone);
        labels.add("destination_region", destination.region);
        labels.add("destination_zone", destination.zone);
    }
    return labels.take();
}

Flow::Texts texts_of(const Ends& ends) {
    Flow::Texts texts;
    if (ends.source) {
        texts.source_workload = ends.source->name();
        texts.source_namespace = ends.source->kind().name_space;
        texts.source_cluster = ends.source->kind().cluster_id;
    }
    texts.source_identity = ends.source_identity;
    if (ends.service) texts.service = ends.service->hostname;
    if (ends.destination) {
        texts.workload = ends.destination->name();
        texts.name_space = ends.destination->kind().name_space;
        texts.cluster = ends.destination->kind().cluster_id;
        if (ends.mutual_tls) texts.identity = identity_text(ends.destination);
    }
    return texts;
}

Labels with_flag(Labels labels, std::string_view flag) {
    for (auto& [name, value] : labels) {
        if (name == flag_label) value = flag;
    }
    return labels;
}

constexpr std::string_view refused_family = "culvert_connections_refused";

Labels refused_labels(Direction direction, Reason why) {
    return {{"direction", std::string(word(direction))}, {"reason", std::string(word(why))}};
}

}  // namespace

std::string_view word(Direction direction) {
    return direction == Direction::outbound ? "outbound" : "inbound";
}

Flow::Flow(Registry& registry, const Ends& ends)
    : registry_(registry), labels_(labels_of(ends)), texts_(texts_of(ends)),
      opened_(registry.counter("istio_tcp_connections_opened", "The total number of TCP connections opened",
                               labels_)),
      closed_(registry.counter(closed_name, closed_help, labels_)),
      received_(registry.counter(
          "istio_tcp_received_bytes",
          "The size of total bytes received during request in case of a TCP connection", labels_)),
      sent_(registry.counter("istio_tcp_sent_bytes",
                             "The size of total bytes sent during response in case of a TCP connection",
                             labels_)) {}

// The clean end is the frequent one; the others look their series up.
void Flow::count_closed(Reason why) const {
    std::string_view flag = response_flag(why);
    if (flag == "-") return closed_.add();
    Labels labels = with_flag(labels_, flag);
    registry_.counter(closed_name, closed_help, labels).add();
    registry_
        .counter("istio_tcp_connections_failed", "The total number of TCP connections that failed", labels)
        .add();
}

Telemetry::Telemetry(Registry& registry) : registry_(registry) {
    for (Direction direction : {Direction::outbound, Direction::inbound}) {
        std::string reporter = direction == Direction::outbound ? "source" : "destination";
        sockets_open_[static_cast<std::size_t>(direction)] = &registry.gauge(
            "istio_tcp_sockets_open", "The number of TCP sockets currently open", {{"reporter", reporter}});
    }
}

bool Telemetry::believable(const std::string& baggage) {
    if (baggage.empty() || baggages_.contains(baggage)) return true;
    if (baggage.size() > baggage_max || baggages_.size() >= baggages_max) return false;
    baggages_.insert(baggage);
    return true;
}

FlowRef Telemetry::flow(Ends ends) {
    if (!believable(ends.baggage)) ends.baggage.clear();
    auto at = flows_.find(ends);
    if (at == flows_.end()) {
        if (flows_.size() >= flows_max)
            std::erase_if(flows_, [](const auto& each) { return each.second.users_ == 0; });
        at = flows_.try_emplace(ends, registry_, ends).first;
    }
    return FlowRef(at->second);
}

void Telemetry::refused(Direction direction, Reason why) {
    Counter*& counter = refused_[static_cast<std::size_t>(direction)][static_cast<std::size_t>(why)];
    if (!counter) {
        counter = &registry_.counter(refused_family,
                                     "Connections that were refused or did not end cleanly, by reason",
                                     refused_labels(direction, why));
    }
    counter->add();
}

std::map<std::string, std::uint64_t> refusals_of(const Registry& registry) {
    std::map<std::string, std::uint64_t> out;
    for (std::size_t i = 0; i < static_cast<std::size_t>(Reason::last_); ++i) {
        const Reason why = static_cast<Reason>(i);
        std::uint64_t count = 0;
        for (Direction direction : {Direction::outbound, Direction::inbound})
            count += registry.count_of(refused_family, refused_labels(direction, why));
        if (count != 0) out.emplace(word(why), count);
    }
    return out;
}

std::uint64_t Telemetry::refusals(Direction direction, Reason why) const {
    const Counter* counter = refused_[static_cast<std::size_t>(direction)][static_cast<std::size_t>(why)];
    return counter ? counter->value() : 0;
}

// The records' addresses are enough to spread; identity and baggage are compared.
std::size_t Telemetry::Hash::operator()(const Ends& ends) const noexcept {
    std::size_t hash = std::hash<const void*>()(ends.source.get());
    hash = hash * 31 + std::hash<const void*>()(ends.destination.get());
    hash = hash * 31 + std::hash<const void*>()(ends.service.get());
    hash = hash * 31 + std::hash<std::string>()(ends.source_identity);
    hash = hash * 31 + std::hash<std::string>()(ends.baggage);
    return hash * 4 + static_cast<std::size_t>(ends.direction) * 2 + (ends.mutual_tls ? 1 : 0);
}

}  // namespace culvert::ztunnel
