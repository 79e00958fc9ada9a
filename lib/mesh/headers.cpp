#include "lib/mesh/headers.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace culvert::mesh {

namespace {

constexpr std::size_t hostname_max = 253;  // RFC 1035 2.3.4, without the last dot

bool visible(char c) { return c >= 0x20 && c <= 0x7e; }

bool hostname_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

// Cuts the piece before the next `separator` off `rest`.
std::string_view next_piece(std::string_view& rest, char separator) {
    std::size_t end = rest.find(separator);
    std::string_view piece = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return piece;
}

// All of `text` as lower-case hex.
std::optional<std::uint64_t> hex(std::string_view text) {
    if (std::ranges::any_of(text, [](char c) { return c >= 'A' && c <= 'F'; })) return std::nullopt;
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

void append_hex(std::string& to, std::uint64_t value, unsigned digits) {
    for (unsigned i = digits; i-- > 0;) to += "0123456789abcdef"[(value >> (4 * i)) & 15];
}

}  // namespace

Result<Authority> parse_authority(std::string_view text) {
    if (auto address = Address::parse(text)) {
        if (address->port == 0 || address->ip.is_unspecified()) return refuse(Reason::bad_request);
        return Authority(*address);
    }
    std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon > hostname_max)
        return refuse(Reason::bad_request);
    HostPort named;
    for (char c : text.substr(0, colon)) named.host += lower(c);
    if (!std::ranges::all_of(named.host, hostname_letter)) return refuse(Reason::bad_request);
    std::string_view digits = text.substr(colon + 1);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), named.port);
    if (error != std::errc{} || end != digits.data() + digits.size() || named.port == 0)
        return refuse(Reason::bad_request);
    return Authority(std::move(named));
}

std::string to_string(const Authority& authority) {
    if (const auto* address = std::get_if<Address>(&authority)) return address->to_string();
    const auto& named = std::get<HostPort>(authority);
    return named.host + ":" + std::to_string(named.port);
}

std::string forwarded_header(Address client, std::string_view service_hostname) {
    std::string text = "for=\"" + client.to_string() + "\"";
    if (!service_hostname.empty()) text.append(";host=").append(service_hostname);
    return text;
}

std::string_view forwarded_host(std::string_view header) {
    if (!std::ranges::all_of(header, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return {};
    while (!header.empty()) {
        std::string_view piece = trim(next_piece(header, ';'));
        if (!piece.starts_with("host=")) continue;
        piece.remove_prefix(5);
        if (piece.starts_with('"')) piece.remove_prefix(1);
        if (piece.ends_with('"')) piece.remove_suffix(1);
        return piece;
    }
    return {};
}

Baggage baggage_of(const WorkloadRecord& workload) {
    return {workload->cluster_id,       workload->name_space,
            workload->workload_name,    workload->type,
            workload->canonical_name,   workload->canonical_revision,
            workload.locality().region, workload.locality().zone};
}

std::string to_string(const Baggage& baggage) {
    std::string text;
    // A value that would break the header's grammar is left out: there is no escape in it (H-24).
    auto add = [&text](std::string_view key, std::string_view value) {
        bool printable = std::ranges::all_of(value, visible) && !value.contains(',');
        if (value.empty() || !printable) return;
        if (!text.empty()) text += ',';
        text.append(key).append("=").append(value);
    };
    add("k8s.cluster.name", baggage.cluster);
    add("k8s.namespace.name", baggage.name_space);
    add("k8s." + std::string(word(baggage.workload_type)) + ".name", baggage.workload_name);
    add("service.name", baggage.service_name);
    add("service.version", baggage.revision);
    add("cloud.region", baggage.region);
    add("cloud.availability_zone", baggage.zone);
    return text;
}

namespace {

void read_entry(Baggage& to, std::string_view key, std::string_view value) {
    static constexpr std::array<std::pair<std::string_view, std::string Baggage::*>, 6> plain{{
        {"k8s.cluster.name", &Baggage::cluster},
        {"k8s.namespace.name", &Baggage::name_space},
        {"service.name", &Baggage::service_name},
        {"service.version", &Baggage::revision},
        {"cloud.region", &Baggage::region},
        {"cloud.availability_zone", &Baggage::zone},
    }};
    for (const auto& [name, member] : plain)
        if (key == name) to.*member = value;
    for (WorkloadType type :
         {WorkloadType::deployment, WorkloadType::cronjob, WorkloadType::pod, WorkloadType::job}) {
        if (key != "k8s." + std::string(word(type)) + ".name" || value.empty()) continue;
        to.workload_type = type;
        to.workload_name = value;
    }
}

}  // namespace

Baggage parse_baggage(std::span<const std::string_view> headers) {
    Baggage baggage;
    for (std::string_view header : headers) {
        if (!std::ranges::all_of(header, [](char c) { return visible(c) || c == '\t'; })) return {};
        while (!header.empty()) {
            std::string_view entry = next_piece(header, ',');
            std::string_view key = next_piece(entry, '=');
            read_entry(baggage, key, entry);
        }
    }
    return baggage;
}

TraceParent TraceParent::fresh(Random& random) {
    TraceParent trace{random.next(), random.next(), random.next(), 0};
    if (trace.trace_high == 0 && trace.trace_low == 0)
        trace.trace_low = 1;  // all zeroes mean "none" (W3C 3.2.2.3)
    if (trace.parent == 0) trace.parent = 1;
    return trace;
}

std::optional<TraceParent> TraceParent::parse(std::string_view header) {
    if (header.size() != 55 || !header.starts_with("00-") || header[35] != '-' || header[52] != '-')
        return std::nullopt;
    auto high = hex(header.substr(3, 16));
    auto low = hex(header.substr(19, 16));
    auto parent = hex(header.substr(36, 16));
    auto flags = hex(header.substr(53, 2));
    if (!high || !low || !parent || !flags) return std::nullopt;
    if ((*high == 0 && *low == 0) || *parent == 0) return std::nullopt;
    return TraceParent{*high, *low, *parent, static_cast<std::uint8_t>(*flags)};
}

std::string TraceParent::to_string() const {
    std::string text = "00-";
    append_hex(text, trace_high, 16);
    append_hex(text, trace_low, 16);
    text += '-';
    append_hex(text, parent, 16);
    text += '-';
    append_hex(text, flags, 2);
    return text;
}

}  // namespace culvert::mesh
