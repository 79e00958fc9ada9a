#include "lib/tls/certificate.h"

#include "lib/base/check.h"
#include "lib/tls/x509.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace culvert::tls {
namespace {

using BignumPtr = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;

constexpr auto wall_max = std::chrono::floor<std::chrono::seconds>(WallTime::max());  // the year 2262
constexpr auto wall_min = std::chrono::ceil<std::chrono::seconds>(WallTime::min());

void add_name(GENERAL_NAMES* names, int type, ASN1_STRING* text, ConstBytes value) {
    check(ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) == 1);
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, text);
    check(sk_GENERAL_NAME_push(names, name) > 0);
}

}  // namespace

std::string openssl_error() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason != nullptr ? reason : "no reason given";
}

int no_password(char*, int, int, void*) { return -1; }

BioPtr read_only(std::string_view text) {
    check(text.size() <= pem_max);
    return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(BIO* memory) {
    char* text = nullptr;
    const long size = BIO_get_mem_data(memory, &text);
    return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

std::string to_pem(X509* certificate) {
    BioPtr out(BIO_new(BIO_s_mem()));
    check(PEM_write_bio_X509(out.get(), certificate) == 1);
    return text_of(out.get());
}

Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem, bool skip_bad) {
    if (pem.size() > pem_max)
        return refuse(Reason::limit, fmt::format("{} bytes of certificates", pem.size()));
    std::vector<X509Ptr> found;
    const BioPtr in = read_only(pem);
    for (;;) {
        char *name = nullptr, *header = nullptr;
        unsigned char* data = nullptr;
        long size = 0;
        ERR_clear_error();
        const bool block = PEM_read_bio(in.get(), &name, &header, &data, &size) == 1;
        const bool at_end = !block && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        const bool certificate = block && (std::string_view(name) == PEM_STRING_X509);
        const unsigned char* at = data;
        X509Ptr parsed(certificate ? d2i_X509(nullptr, &at, size) : nullptr);
        if (parsed && at != data + size) parsed.reset();  // bytes behind the certificate
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
        if (at_end) break;
        if (block && !certificate) continue;
        if (parsed) {
            if (found.size() == certificates_max) return refuse(Reason::limit, "too many certificates");
            found.push_back(std::move(parsed));
        } else if (!skip_bad) {
            return refuse(Reason::bad_input, "a certificate does not parse: " + openssl_error());
        } else if (!block) {
            break;  // a broken block: PEM_read_bio cannot say where the next one starts
        }
    }
    ERR_clear_error();
    return found;
}

WallTime to_wall(const ASN1_TIME* time) {
    std::tm parts{};
    if (ASN1_TIME_to_tm(time, &parts) != 1) return {};  // "in 1970": never valid now
    const std::chrono::sys_seconds at{std::chrono::seconds(timegm(&parts))};
    return std::clamp(at, wall_min, wall_max);  // "99991231235959Z" is a date that certificates have
}

std::string to_rfc3339(WallTime at) {
    const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string serial_of(const X509* certificate) {
    const BignumPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
    char* text = number ? BN_bn2dec(number.get()) : nullptr;
    std::string out = text != nullptr ? text : "";
    OPENSSL_free(text);
    return out;
}

CertificateInfo describe(X509* certificate) {
    return {to_pem(certificate), serial_of(certificate), to_wall(X509_get0_notBefore(certificate)),
            to_wall(X509_get0_notAfter(certificate))};
}

void add_uri(GENERAL_NAMES* names, std::string_view uri) {
    add_name(names, GEN_URI, ASN1_IA5STRING_new(), as_bytes(uri));
}
void add_dns(GENERAL_NAMES* names, std::string_view name) {
    add_name(names, GEN_DNS, ASN1_IA5STRING_new(), as_bytes(name));
}
void add_ip(GENERAL_NAMES* names, ConstBytes address) {
    add_name(names, GEN_IPADD, ASN1_OCTET_STRING_new(), address);
}

Result<mesh::Identity> only_identity(const GENERAL_NAMES* names) {
    const ASN1_IA5STRING* uri = nullptr;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI) continue;
        if (uri != nullptr) return refuse(Reason::tls_identity, "more than one URI name");
        uri = name->d.uniformResourceIdentifier;
    }
    if (uri == nullptr) return refuse(Reason::tls_identity, "no URI name");
    const std::string_view text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                                static_cast<std::size_t>(ASN1_STRING_length(uri)));
    // URIs are printable ASCII; a NUL or a line break inside a name is an attack on whoever prints or
    // compares it.
    const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
    auto identity = printable ? mesh::Identity::parse(text) : std::nullopt;
    if (!identity) return refuse(Reason::tls_identity, "the URI name is no SPIFFE id of the mesh");
    return *std::move(identity);
}

Result<mesh::Identity> only_identity(const X509* certificate) {
    int critical = 0;
    const NamesPtr names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)));
    if (!names) {
        ERR_clear_error();
        return refuse(Reason::tls_identity,
                      critical == -1 ? "no alternative names" : "bad alternative names");
    }
    return only_identity(names.get());
}

void PeerIdentity::save(Encoder& to) const {
    to.text(identity.to_string());
    to.text(serial);
    to.number(not_after.time_since_epoch().count());
}

Result<PeerIdentity> PeerIdentity::load(Decoder& from) {
    auto identity = mesh::Identity::parse(from.text());
    std::string serial(from.text());
    const auto not_after = from.number<Duration::rep>();
    if (!from.ok() || !identity) return refuse(Reason::bad_input);
    return PeerIdentity{*std::move(identity), std::move(serial), WallTime(Duration(not_after))};
}

}  // namespace culvert::tls
