// Traffic metrics (wire facts M-2 to M-5, M-8) and the counters of refusals, by reason (decision 29).
//
// A Flow is one pair of ends: its labels, its counters and the texts of its log lines, made once and shared
// by all connections between the same two workloads for the same service. So a connection holds one pointer
// instead of 600 bytes of labels (W-15), and a new one costs a hash lookup.
//
// One Telemetry per shard, on its loop's thread; the counters behind it belong to the program's Registry and
// may be added to by several shards. Bounds: flows that nobody uses are dropped above flows_max
// (docs/limits.md); what is in use is bounded by connections.
#pragma once
#include "lib/base/metrics.h"
#include "lib/base/reason.h"
#include "lib/mesh/directory.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace culvert::ztunnel {

enum class Direction : std::uint8_t { outbound, inbound };
std::string_view word(Direction direction);  // "outbound", "inbound"

// Whom a connection joins, as far as is known. Passed by value: it pins what the flow's labels come from.
struct Ends {
    Direction direction = Direction::outbound;
    bool mutual_tls = false;
    mesh::WorkloadPtr source;
    mesh::WorkloadPtr destination;  // of an outbound connection: the next hop
    std::shared_ptr<const mesh::Service> service;
    std::string source_identity;  // proven by mTLS, or ""; M-5
    std::string baggage;          // inbound: what the peer says of itself, if `source` is null
    bool operator==(const Ends&) const = default;
};

class Flow {
public:
    // What a log line says of the ends (L-2); "" is left out.
    struct Texts {
        std::string source_workload, source_namespace, source_identity, source_cluster;
        std::string service, workload, name_space, identity, cluster;
    };

    Flow(Registry& registry, const Ends& ends);
    const Texts& texts() const { return texts_; }
    void count_opened() const { opened_.add(); }
    void count_closed(Reason why) const;
    // M-4: for both reporters, received is what the client sent and sent is what the server sent.
    void count_client_bytes(std::size_t bytes) const { received_.add(bytes); }
    void count_server_bytes(std::size_t bytes) const { sent_.add(bytes); }

private:
    friend class FlowRef;
    friend class Telemetry;
    Registry& registry_;
    Labels labels_;
    Texts texts_;
    Counter& opened_;
    Counter& closed_;
    Counter& received_;
    Counter& sent_;
    std::uint32_t users_ = 0;
};

// Keeps a flow from being dropped.
class FlowRef {
public:
    FlowRef() = default;
    explicit FlowRef(Flow& flow) : flow_(&flow) { ++flow_->users_; }
    FlowRef(FlowRef&& other) noexcept : flow_(std::exchange(other.flow_, nullptr)) {}
    FlowRef& operator=(FlowRef&& other) noexcept {
        std::swap(flow_, other.flow_);
        return *this;
    }
    ~FlowRef() {
        if (flow_) --flow_->users_;
    }
    const Flow* get() const { return flow_; }

private:
    Flow* flow_ = nullptr;
};

class Telemetry {
public:
    static constexpr std::size_t flows_max = 4096;  // about 2 KB each, unused ones
    // What peers say of themselves makes series that stay: so long, and so many different ones. Beyond, they
    // are unknown.
    static constexpr std::size_t baggage_max = 1024;
    static constexpr std::size_t baggages_max = 512;

    explicit Telemetry(Registry& registry);
    FlowRef flow(Ends ends);
    // Every refusal and every unclean end, also those without labels.
    void refused(Direction direction, Reason why);
    std::uint64_t refusals(Direction direction, Reason why) const;
    Gauge& sockets_open(Direction direction) { return *sockets_open_[static_cast<std::size_t>(direction)]; }
    std::size_t flows() const { return flows_.size(); }

private:
    struct Hash {
        std::size_t operator()(const Ends& ends) const noexcept;
    };
    bool believable(const std::string& baggage);
    using Refused = std::array<Counter*, static_cast<std::size_t>(Reason::last_)>;

    Registry& registry_;
    std::unordered_map<Ends, Flow, Hash> flows_;
    std::unordered_set<std::string> baggages_;
    std::array<Refused, 2> refused_{};
    std::array<Gauge*, 2> sockets_open_{};
};

// What every shard of the program refused, by reason, those that happened: for /config_dump.
std::map<std::string, std::uint64_t> refusals_of(const Registry& registry);

}  // namespace culvert::ztunnel
