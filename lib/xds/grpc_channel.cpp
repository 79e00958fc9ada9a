#include "lib/xds/grpc_channel.h"

#include "lib/base/log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>

namespace culvert::xds {

namespace {

constexpr std::size_t file_bytes_max = 1u << 20;  // docs/limits.md: xds.files
constexpr int message_bytes_max = 200 << 20;      // X-5

bool is_file(const std::string& path) {
    struct stat found{};
    return path.find('\n') == path.npos && stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(file_bytes_max + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!file.is_open() || file.bad()) return refuse(Reason::bad_configuration, "cannot read " + path);
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > file_bytes_max)
        return refuse(Reason::bad_configuration, path + " is larger than 1 MiB");
    return text;
}

bool printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

// Names that gRPC takes as metadata; anything else would stop the process.
bool is_header(std::string_view name) {
    auto fine = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    };
    return !name.empty() && std::ranges::all_of(name, fine) && !name.starts_with("grpc-") &&
           !name.ends_with("-bin");
}

bool equal_names(std::string_view a, std::string_view b) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

// RFC 6125 6.4: a star stands for the whole leftmost label.
bool name_matches(std::string_view pattern, std::string_view host) {
    if (!pattern.starts_with("*.")) return equal_names(pattern, host);
    auto dot = host.find('.');
    return dot != host.npos && dot > 0 && equal_names(pattern.substr(1), host.substr(dot));
}

// X-3: the certificate names the host of the address, or else the alternative.
class NameVerifier final : public grpc::experimental::ExternalCertificateVerifier {
public:
    NameVerifier(std::string host, std::string alternative)
        : host_(std::move(host)), alternative_(std::move(alternative)) {}
    bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* request,
                std::function<void(grpc::Status)>, grpc::Status* result) override {
        bool good = names(*request, host_) || (!alternative_.empty() && names(*request, alternative_));
        *result =
            good ? grpc::Status::OK
                 : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "the certificate is not for " + host_);
        return true;
    }
    void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest*) override {}

private:
    static bool names(const grpc::experimental::TlsCustomVerificationCheckRequest& request,
                      const std::string& host) {
        auto view = [](grpc::string_ref text) { return std::string_view(text.data(), text.size()); };
        auto dns = request.dns_names();
        auto ips = request.ip_names();
        return std::ranges::any_of(dns, [&](auto name) { return name_matches(view(name), host); }) ||
               std::ranges::any_of(ips, [&](auto name) { return view(name) == host; });
    }
    std::string host_;
    std::string alternative_;
};

void to_our_log(gpr_log_func_args* line) {
    // What matters of it comes back as a status, with its reason: here it is for those who look for more.
    auto level = line->severity == GPR_LOG_SEVERITY_DEBUG ? log::Level::trace : log::Level::debug;
    log::write(level, "grpc", line->message);
}

// A message that does not parse is a refusal with its reason; protobuf would also print a line for each.
void no_protobuf_lines(google::protobuf::LogLevel, const char*, int, const std::string& message) {
    log::debug("grpc", message);
}

}  // namespace

void prepare_grpc() {
    static std::once_flag once;
    std::call_once(once, [] {
        setenv("GRPC_DNS_RESOLVER", "native", 0);
        gpr_set_log_function(to_our_log);
        google::protobuf::SetLogHandler(no_protobuf_lines);
    });
}

Result<Target> target(const Endpoint& endpoint) {
    std::string_view text = endpoint.address;
    auto bad = [&](std::string_view why) {
        return refuse(Reason::bad_configuration,
                      "controller address " + endpoint.address + " " + std::string(why));
    };
    if (auto scheme = text.find("://"); scheme != text.npos) {
        if (text.substr(0, scheme) != "https")
            return bad("must begin with https:// (it is only reached over TLS)");
        text.remove_prefix(scheme + 3);
    }
    if (text.ends_with('/')) text.remove_suffix(1);
    auto colon = text.rfind(':');
    if (colon == text.npos || colon == 0 || !printable(text)) return bad("is not https://host:port");
    std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
    std::uint16_t number = 0;
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc{} || end != port.data() + port.size() || number == 0)
        return bad("has no port of 1 to 65535");
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != host.npos)
        return bad("has an IPv6 address without brackets");
    if (host.empty() || host.find_first_of("/ @") != host.npos) return bad("is not https://host:port");
    return Target{std::string(text), std::string(host)};
}

Result<std::string> read_roots(const Endpoint& endpoint) {
    if (endpoint.root_ca == "SYSTEM") return std::string();
    std::string pem = endpoint.root_ca;
    if (is_file(pem)) {
        TRY(pem, read_file(endpoint.root_ca));
    }
    if (pem.find("-----BEGIN CERTIFICATE-----") == pem.npos) {
        std::string what = pem.size() < 200 ? pem : pem.substr(0, 200);
        return refuse(Reason::bad_configuration,
                      "no root certificate in " + what + ": a file, PEM text or SYSTEM");
    }
    return pem;
}

std::shared_ptr<grpc::Channel> make_channel(const Target& target, const Endpoint& endpoint,
                                            const std::string& roots) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(message_bytes_max);
    arguments.SetMaxSendMessageSize(message_bytes_max);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                     5000);  // X-5: this is gRPC's name for the time to connect
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);  // X-5; TCP keepalive would find a dead path later
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // we retry, with what we know of why
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // an environment variable must not redirect trust
    arguments.SetServiceConfigJSON("{}");
    arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    grpc::experimental::TlsChannelCredentialsOptions options;
    if (!roots.empty()) {
        options.set_certificate_provider(
            std::make_shared<grpc::experimental::StaticDataCertificateProvider>(roots));
        options.watch_root_certs();
    }
    options.set_verify_server_certs(true);
    options.set_check_call_host(false);  // NameVerifier does, once for the connection
    options.set_certificate_verifier(grpc::experimental::ExternalCertificateVerifier::Create<NameVerifier>(
        target.host, endpoint.alternative_name));
    return grpc::CreateCustomChannel("dns:///" + target.host_port,
                                     grpc::experimental::TlsCredentials(options), arguments);
}

Result<Done> add_metadata(const Endpoint& endpoint, grpc::ClientContext& context) {
    if (!endpoint.token.empty()) {
        std::string token = endpoint.token;
        if (is_file(token)) {
            TRY(token, read_file(endpoint.token));
        } else if (token.starts_with('/') || token.starts_with('.')) {
            return refuse(Reason::bad_configuration, "there is no token file " + token);
        }
        while (!token.empty() && (token.back() == '\n' || token.back() == ' ')) token.pop_back();
        if (!token.empty() && !printable(token))
            return refuse(Reason::bad_configuration, "the token is no token");
        if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    }
    context.AddMetadata("clusterid", endpoint.cluster);
    for (const auto& [name, value] : endpoint.headers) context.AddMetadata(name, value);
    return Done{};
}

Result<Done> validate(const Endpoint& endpoint) {
    prepare_grpc();
    TRY_DONE(target(endpoint));
    if (!printable(endpoint.cluster))
        return refuse(Reason::bad_configuration, "the cluster id has characters that no header may have");
    for (const auto& [name, value] : endpoint.headers)
        if (!is_header(name) || !printable(value))
            return refuse(Reason::bad_configuration,
                          "header " + name + " has characters that no header may have");
    return Done{};
}

}  // namespace culvert::xds
