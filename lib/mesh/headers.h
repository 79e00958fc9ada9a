// What the CONNECT of HBONE carries beside its method: the authority (H-21), `forwarded`, `baggage` and
// `traceparent` (H-22 to H-24). Pure; parsers take what a peer sent and never fail harder than "absent".
#pragma once
#include "lib/base/ip.h"
#include "lib/base/random.h"
#include "lib/base/result.h"
#include "lib/mesh/directory.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace culvert::mesh {

struct HostPort {
    std::string host;
    std::uint16_t port = 0;
    bool operator==(const HostPort&) const = default;
};
using Authority = std::variant<Address, HostPort>;

// I-1: a socket address, else a host and a mandatory port. v4-mapped addresses are IPv4 (better than I-7).
// Error: bad_request.
Result<Authority> parse_authority(std::string_view text);
std::string to_string(const Authority& authority);

// for="<client>", and ;host=<hostname> when the application addressed a known service.
std::string forwarded_header(Address client, std::string_view service_hostname);
// The host of a `forwarded` header, or "" (H-23). What it says of `for` is never used.
std::string_view forwarded_host(std::string_view header);

// What a peer says about itself: telemetry only, never policy. Values are bounded by the header limits of
// lib/h2.
struct Baggage {
    std::string cluster{};
    std::string name_space{};
    std::string workload_name{};
    WorkloadType workload_type = WorkloadType::deployment;
    std::string service_name{};
    std::string revision{};
    std::string region{};
    std::string zone{};
    bool operator==(const Baggage&) const = default;
};
Baggage baggage_of(const WorkloadRecord& workload);
std::string to_string(const Baggage& baggage);
// From all `baggage` headers of a request; one with anything but visible ASCII discards them all.
Baggage parse_baggage(std::span<const std::string_view> headers);

struct TraceParent {
    std::uint64_t trace_high = 0;
    std::uint64_t trace_low = 0;
    std::uint64_t parent = 0;
    std::uint8_t flags = 0;
    bool operator==(const TraceParent&) const = default;

    static TraceParent fresh(Random& random);
    static std::optional<TraceParent> parse(std::string_view header);  // W-11: anything odd is absent
    std::string to_string() const;
};

}  // namespace culvert::mesh
