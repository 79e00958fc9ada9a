// What others send us about certificates: CSRs, chains, keys and tokens, as PEM or as the DER inside. The
// first byte chooses.
#include "lib/base/check.h"
#include "lib/tls/authority.h"
#include "lib/tls/credentials.h"
#include "lib/tls/token.h"
#include "lib/tls/x509.h"
#include "test/support/scratch.h"

#include <openssl/pem.h>
#include <string>

using namespace culvert;
using namespace culvert::tls;

namespace {

constexpr WallTime now{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1}};

std::string armoured(const char* name, std::string_view der) {
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio(out.get(), name, "", reinterpret_cast<const unsigned char*>(der.data()),
                  static_cast<long>(der.size()));
    return text_of(out.get());
}

void certificates(const std::string& pem) {
    const auto parsed = parse_certificates(pem, true);
    if (!parsed) return;
    check(parsed->size() <= certificates_max);
    for (const X509Ptr& certificate : *parsed) {
        (void)describe(certificate.get());
        const auto identity = only_identity(certificate.get());
        if (identity) check(mesh::Identity::parse(identity->to_string()) == *identity);
    }
    PrivateKey key = PrivateKey::generate().value();
    const std::vector<std::string> answer{pem, pem};
    check(!Credential::from_response(std::move(key), answer, {"td", "ns", "sa"},
                                     now));  // never for our fresh key
}

void request(const std::string& pem) {
    const auto csr = Csr::parse(pem);
    if (!csr) return;
    check(mesh::Identity::parse(csr->identity().to_string()) == csr->identity());
    static const culvert::test::Scratch scratch;
    static const Authority authority = Authority::open(scratch.path("state"), "cluster.local", now).value();
    (void)authority.sign(*csr, std::chrono::hours(1), now);
}

void token(std::string_view text) {
    static const culvert::test::Scratch scratch;
    static const TokenKey key = TokenKey::open(scratch.path("state")).value();
    check(!key.verify(text, now));  // nobody else has the key
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
    switch (data[0] % 6) {
    case 0: certificates(text); break;
    case 1: certificates(armoured(PEM_STRING_X509, text)); break;
    case 2: request(text); break;
    case 3: request(armoured(PEM_STRING_X509_REQ, text)); break;
    case 4: (void)PrivateKey::from_pem(text); break;
    default: token(text); break;
    }
    return 0;
}
