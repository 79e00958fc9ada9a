#include "ztunnel/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

struct Variable {
    std::string_view name, fallback, meaning;
};

// Every variable that is read, with its default: nothing else is looked up. --help prints it; the order is
// the reader's.
constexpr std::array variables = {
    Variable{"NODE_NAME", "", "this node's name: pods of this node are served"},
    Variable{"INSTANCE_IP", "", "this process's address, for the controller"},
    Variable{"POD_NAME", "", "this process's pod, for the controller"},
    Variable{"POD_NAMESPACE", "", "that pod's namespace"},
    Variable{"NETWORK", "", "the network that this node belongs to"},
    Variable{"ISTIO_META_CLUSTER_ID", "", "name of the cluster; else CLUSTER_ID"},
    Variable{"CLUSTER_ID", "Kubernetes", "name of the cluster"},
    Variable{"CLUSTER_DOMAIN", "cluster.local", "domain of services"},
    Variable{"TRUST_DOMAIN", "cluster.local", "of pods that the controller has not described yet"},
    Variable{"XDS_ADDRESS", "https://localhost:15012", "the controller's discovery; https://HOST:PORT"},
    Variable{"KUBERNETES_SERVICE_HOST", "",
             "set: XDS_ADDRESS is https://istiod.istio-system.svc:15012 unless given"},
    Variable{"CA_ADDRESS", "", "the controller's certificates; else XDS_ADDRESS"},
    Variable{"XDS_ROOT_CA", "./var/run/secrets/istio/root-cert.pem",
             "roots that the controller must chain to: path, SYSTEM or PEM"},
    Variable{"CA_ROOT_CA", "", "the same for certificates; else XDS_ROOT_CA"},
    Variable{"ALT_XDS_HOSTNAME", "", "another name that the controller's certificate may have"},
    Variable{"ALT_CA_HOSTNAME", "", "the same for certificates; else ALT_XDS_HOSTNAME"},
    Variable{"XDS_HEADER_", "", "and a name: a header of every discovery call"},
    Variable{"CA_HEADER_", "", "and a name: a header of every certificate call"},
    Variable{"AUTH_TOKEN", "./var/run/secrets/tokens/istio-token",
             "this node's token: path, or the token itself"},
    Variable{"SECRET_TTL", "24h", "lifetime asked for certificates; renewed at half of it"},
    Variable{"INPOD_UDS", "/var/run/ztunnel/ztunnel.sock", "socket of the agent (ZDS)"},
    Variable{"INPOD_PORT_REUSE", "true", "let an old and a new ztunnel listen at once"},
    Variable{"PACKET_MARK", "0", "mark of sockets in pods, under Istio's CNI"},
    Variable{"IPV6_ENABLED", "true", "listen on IPv6"},
    Variable{"PREFERED_SERVICE_NAMESPACE", "", "whose service wins when several share a host name"},
    Variable{"ISTIO_META_DNS_CAPTURE", "true", "answer captured DNS"},
    Variable{"ENABLE_RESPONSE_BAGGAGE", "true", "say on replies who we are"},
    Variable{"POOL_MAX_STREAMS_PER_CONNECTION", "100", "tunnels of one link"},
    Variable{"POOL_UNUSED_RELEASE_TIMEOUT", "5m", "a link without a tunnel is released after this"},
    Variable{"CONNECTION_TERMINATION_DEADLINE", "", "how long open connections may go on after SIGTERM"},
    Variable{"TERMINATION_GRACE_PERIOD_SECONDS", "0", "else derived from this: less 5 s; 0: 5 s"},
    Variable{"ZTUNNEL_WORKER_THREADS", "auto",
             "loops: a number, N% of the CPUs, 0 = all; auto: a quarter, at least 2"},
    Variable{"ADMIN_ADDR", "127.0.0.1:15000", "admin port"},
    Variable{"STATS_ADDR", "[::]:15020", "metrics port"},
    Variable{"READINESS_ADDR", "[::]:15021", "readiness port"},
    Variable{"RUST_LOG", "info", "log filter: info, or info,access=debug,xds=trace"},
    Variable{"LOG_FORMAT", "plain", "plain or json"},
    Variable{"CULVERT_RESOLVERS", "",
             "name servers for what the mesh does not know: ADDRESS:PORT,...; else /etc/resolv.conf"},
    Variable{"CULVERT_MESH_RANGES", "",
             "CIDRs, comma separated: an unknown address in them is refused, never plain TCP"},
    Variable{"CULVERT_EXTERNAL_RANGES", "", "CIDRs that are outside the mesh all the same"},
    Variable{"CULVERT_TLS_SUITES", "", "TLS_AES_128_GCM_SHA256: only that suite (benches)"},
    Variable{"CULVERT_TLS_GROUPS", "X25519:P-256:P-384", "key exchange groups, in order"},
    Variable{"TLS12_ENABLED", "", "not carried by this version: empty or false"},
    Variable{"COMPLIANCE_POLICY", "", "not carried by this version: empty"},
    Variable{"CRL_PATH", "", "not carried by this version: empty"},
};

const Variable& variable(std::string_view name) {
    auto at = std::ranges::find(variables, name, &Variable::name);
    check(at != variables.end());  // read without being listed
    return *at;
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

// Reads variables; the first complaint is kept and ends in the Result.
class Reader {
public:
    explicit Reader(const Environment& environment) : environment_(environment) {}

    // What stands in the environment, or ""; text(): or the default.
    std::string given(std::string_view name) const {
        auto at = environment_.find(variable(name).name);
        return at == environment_.end() ? "" : at->second;
    }
    std::string text(std::string_view name) const {
        std::string value = given(name);
        return value.empty() ? std::string(variable(name).fallback) : value;
    }
    std::string text_or(std::string_view name, std::string_view derived) const {
        std::string value = given(name);
        return value.empty() ? std::string(derived) : value;
    }
    bool boolean(std::string_view name) {
        std::string value = lower(text(name));
        if (value != "true" && value != "false") complain(name, value, "true or false");
        return value == "true";
    }
    bool second_of(std::string_view name, std::string_view first, std::string_view second) {
        std::string value = text(name);
        if (value != first && value != second) complain(name, value, fmt::format("{} or {}", first, second));
        return value == second;
    }
    std::uint64_t number(std::string_view name, std::uint64_t max) {
        std::string value = text(name);
        std::uint64_t out = 0;
        auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
        if (error != std::errc{} || end != value.data() + value.size() || out > max)
            complain(name, value, fmt::format("a number from 0 to {}", max));
        return out;
    }
    // "10s", "5m", "1h", "1h30m", "250ms".
    Duration duration(std::string_view name) {
        std::string value = text(name);
        Duration total{};
        std::string_view rest = value;
        while (!rest.empty()) {
            std::uint64_t count = 0;
            auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
            rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
            Duration unit = rest.starts_with("ms")  ? 1ms
                            : rest.starts_with('s') ? 1s
                            : rest.starts_with('m') ? 60s
                            : rest.starts_with('h') ? 3600s
                                                    : 0s;
            if (error != std::errc{} || unit == 0s || count > 1'000'000) {
                complain(name, value, "a duration such as 10s, 5m or 1h30m");
                return total;
            }
            total += count * unit;
            rest.remove_prefix(rest.starts_with("ms") ? 2 : 1);
        }
        return total;
    }
    Address address(std::string_view name) {
        std::string value = text(name);
        std::string spelled = value.starts_with("localhost:") ? "127.0.0.1" + value.substr(9) : value;
        auto parsed = Address::parse(spelled);
        if (!parsed) complain(name, value, "ADDRESS:PORT, such as 127.0.0.1:15000 or [::]:15020");
        return parsed.value_or(Address{});
    }
    template <class T> std::vector<T> list(std::string_view name, std::string_view form) {
        std::vector<T> out;
        std::string value = text(name);
        for (std::string_view rest = value; !rest.empty();) {
            std::string_view part = rest.substr(0, rest.find(','));
            rest.remove_prefix(std::min(rest.size(), part.size() + 1));
            auto parsed = T::parse(part);
            if (!parsed)
                complain(name, part, form);
            else
                out.push_back(*parsed);
        }
        return out;
    }
    void complain(std::string_view name, std::string_view value, std::string_view form) {
        if (complaint_.empty()) complaint_ = fmt::format("{}='{}': expected {}", name, value, form);
    }
    Result<Done> verdict() const {
        if (!complaint_.empty()) return refuse(Reason::bad_configuration, complaint_);
        return Done{};
    }

private:
    const Environment& environment_;
    std::string complaint_;
};

xds::Endpoint endpoint(Reader& read, const Environment& environment, std::string_view kind,
                       const xds::Endpoint& fallback) {
    std::string prefix = std::string(kind) + "_HEADER_";
    xds::Endpoint out = fallback;
    out.address = read.text_or(std::string(kind) + "_ADDRESS", fallback.address);
    out.root_ca = read.text_or(std::string(kind) + "_ROOT_CA", fallback.root_ca);
    out.alternative_name = read.text_or("ALT_" + std::string(kind) + "_HOSTNAME", fallback.alternative_name);
    for (const auto& [name, value] : environment) {
        if (!name.starts_with(prefix)) continue;
        out.headers.emplace_back(lower(name.substr(prefix.size())), value);
    }
    return out;
}

std::vector<Address> resolvers_of(std::string_view resolv_conf) {
    std::vector<Address> out;
    while (!resolv_conf.empty()) {
        std::string_view line = resolv_conf.substr(0, resolv_conf.find('\n'));
        resolv_conf.remove_prefix(std::min(resolv_conf.size(), line.size() + 1));
        constexpr std::string_view word = "nameserver";
        if (!line.starts_with(word)) continue;
        line.remove_prefix(word.size());
        line.remove_prefix(std::min(line.size(), line.find_first_not_of(" \t")));
        if (auto ip = Ip::parse(line.substr(0, line.find_first_of(" \t#")))) out.push_back({*ip, 53});
    }
    return out;
}

// wire.md 8.1 and 9: what the grace period leaves after the orchestrator's own delays.
Duration drain_time(Reader& read) {
    std::uint64_t grace = read.number("TERMINATION_GRACE_PERIOD_SECONDS", 86'400);
    Duration derived =
        grace == 0 ? 5s
                   : std::chrono::seconds(std::max<std::uint64_t>(grace > 10 ? grace - 5 : grace - 1, 1));
    return read.given("CONNECTION_TERMINATION_DEADLINE").empty()
               ? derived
               : read.duration("CONNECTION_TERMINATION_DEADLINE");
}

void read_settings(Reader& read, Settings& settings) {
    settings.around.network = read.text("NETWORK");
    settings.around.cluster_domain = read.text("CLUSTER_DOMAIN");
    settings.around.preferred_service_namespace = read.text("PREFERED_SERVICE_NAMESPACE");
    settings.around.mesh_ranges =
        read.list<Cidr>("CULVERT_MESH_RANGES", "CIDRs such as 10.0.0.0/8, comma separated");
    settings.around.external_ranges =
        read.list<Cidr>("CULVERT_EXTERNAL_RANGES", "CIDRs such as 10.9.0.0/16, comma separated");
    settings.cluster = read.text_or("ISTIO_META_CLUSTER_ID", read.text("CLUSTER_ID"));
    settings.node = read.text("NODE_NAME");
    settings.trust_domain = read.text("TRUST_DOMAIN");
    settings.response_baggage = read.boolean("ENABLE_RESPONSE_BAGGAGE");
    settings.streams_per_link_max = read.number("POOL_MAX_STREAMS_PER_CONNECTION", 1000);
    settings.idle_release = read.duration("POOL_UNUSED_RELEASE_TIMEOUT");
}

void read_doors(Reader& read, Config& config) {
    config.doors.ipv6 = read.boolean("IPV6_ENABLED");
    config.doors.reuse_port = read.boolean("INPOD_PORT_REUSE");
    config.doors.mark = static_cast<std::uint32_t>(read.number("PACKET_MARK", 0xffffffff));
    config.doors.announce = config.doors.mark == 0;  // a mark means Istio's rules, not our agent
    config.settings.around.capture_ports = config.doors.announce;
}

void read_tls(Reader& read, Config& config) {
    std::string suites = read.text("CULVERT_TLS_SUITES");
    if (!suites.empty() && suites != "TLS_AES_128_GCM_SHA256")
        read.complain("CULVERT_TLS_SUITES", suites, "TLS_AES_128_GCM_SHA256, or nothing for both suites");
    config.profile.aes_128_only = !suites.empty();
    config.profile.groups = read.text("CULVERT_TLS_GROUPS");
    for (auto name : {"TLS12_ENABLED", "COMPLIANCE_POLICY", "CRL_PATH"})
        if (std::string value = read.text(name); !value.empty() && value != "false")
            read.complain(name, value,
                          "nothing: this version has TLS 1.3 with its usual suites, and no revocation lists");
}

}  // namespace

unsigned worker_threads(std::string_view text, unsigned cpus) {
    if (text == "auto") return std::max((cpus + 3) / 4, 2u);
    bool share = text.ends_with('%');
    if (share) text.remove_suffix(1);
    unsigned number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number > (share ? 100u : 1024u)) return 0;
    if (share) return std::max((cpus * number + 99) / 100, 1u);
    return number == 0 ? cpus : number;
}

Result<Config> read_config(const Environment& environment, const Machine& machine) {
    Reader read(environment);
    Config config;
    read_settings(read, config.settings);
    read_doors(read, config);
    read_tls(read, config);

    bool kubernetes = !read.given("KUBERNETES_SERVICE_HOST").empty();
    xds::Endpoint defaults{.address = kubernetes ? "https://istiod.istio-system.svc:15012"
                                                 : read.text("XDS_ADDRESS"),
                           .root_ca = read.text("XDS_ROOT_CA"),
                           .token = read.text("AUTH_TOKEN"),
                           .cluster = config.settings.cluster};
    std::error_code failed;
    if (std::string token = read.given("AUTH_TOKEN");
        (token.starts_with('/') || token.starts_with('.')) && !std::filesystem::exists(token, failed))
        read.complain("AUTH_TOKEN", token, "a file that exists, or the token itself");
    config.discovery = endpoint(read, environment, "XDS", defaults);
    xds::Endpoint same = config.discovery;
    same.headers.clear();
    config.authority = endpoint(read, environment, "CA", same);

    config.node_facts = {.instance_ip = read.text("INSTANCE_IP"),
                         .pod_name = read.text("POD_NAME"),
                         .pod_namespace = read.text("POD_NAMESPACE"),
                         .node_name = config.settings.node,
                         .environment = {environment.begin(), environment.end()}};
    config.secret_ttl = std::chrono::duration_cast<std::chrono::seconds>(read.duration("SECRET_TTL"));
    config.zds_path = read.text("INPOD_UDS");
    config.doors.resolvers = read.list<Address>("CULVERT_RESOLVERS", "ADDRESS:PORT, comma separated");
    if (config.doors.resolvers.empty()) config.doors.resolvers = resolvers_of(machine.resolv_conf);
    config.doors.dns = read.boolean("ISTIO_META_DNS_CAPTURE");  // D-1
    std::string threads = read.text("ZTUNNEL_WORKER_THREADS");
    config.workers = worker_threads(threads, machine.cpus);
    if (config.workers == 0)
        read.complain("ZTUNNEL_WORKER_THREADS", threads, "a number, N% of the CPUs, or auto");
    config.drain = drain_time(read);
    config.admin = read.address("ADMIN_ADDR");
    config.stats = read.address("STATS_ADDR");
    config.readiness = read.address("READINESS_ADDR");
    config.log = {.json = read.second_of("LOG_FORMAT", "plain", "json"), .filter = read.text("RUST_LOG")};
    TRY_DONE(read.verdict());
    return config;
}

std::string config_help() {
    std::string out;
    for (const Variable& each : variables) {
        out += fmt::format("  {:34} {}\n", each.name, each.meaning);
        if (!each.fallback.empty()) out += fmt::format("  {:34} default {}\n", "", each.fallback);
    }
    return out;
}

Environment environment_of(const char* const* entries) {
    Environment out;
    for (; *entries; ++entries) {
        std::string_view entry = *entries;
        auto equals = entry.find('=');
        if (equals != entry.npos) out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
    return out;
}

}  // namespace culvert::ztunnel
