#include "lib/tls/authority.h"

#include "lib/base/random.h"
#include "lib/tls/state_directory.h"
#include "lib/tls/x509.h"
#include "test/support/scratch.h"
#include "test/unit/tls/shake.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::tls::test;

namespace {

constexpr std::chrono::seconds day = 24h;

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
void overwrite(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}
unsigned mode(const std::string& path) {
    struct stat status{};
    REQUIRE(stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
}

struct World {
    Scratch scratch;
    std::string directory = scratch.path("state");

    Result<Authority> open(WallTime now = test_now) {
        return Authority::open(directory, "cluster.local", now);
    }
};

Csr request(const PrivateKey& key, std::string_view who) {
    return Csr::parse(make_csr(key, identity(who)).value()).value();
}

X509Ptr parsed(const std::string& pem) { return std::move(parse_certificates(pem, false).value().at(0)); }

// A request that make_csr would not make: names in OpenSSL's syntax, signed by `signer`.
std::string odd_csr(EVP_PKEY* key, EVP_PKEY* signer, const std::string& names) {
    const CsrPtr csr(X509_REQ_new());
    X509_REQ_set_pubkey(csr.get(), key);
    if (!names.empty()) {
        STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
        sk_X509_EXTENSION_push(extensions,
                               X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()));
        X509_REQ_add_extensions(csr.get(), extensions);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    }
    X509_REQ_sign(csr.get(), signer, EVP_sha256());
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509_REQ(out.get(), csr.get());
    return text_of(out.get());
}

}  // namespace

TEST_CASE("a root is made once, kept privately, and survives restarts", "[authority]") {
    World world;
    const std::string pem = world.open().value().root().pem;
    REQUIRE(mode(world.directory) == 0700);
    REQUIRE(mode(world.directory + "/root-key.pem") == 0600);
    REQUIRE(mode(world.directory + "/root-cert.pem") == 0644);
    REQUIRE(contents(world.directory + "/root-cert.pem") == pem);
    REQUIRE(world.open().value().root().pem == pem);
    REQUIRE(std::distance(std::filesystem::directory_iterator(world.directory), {}) == 2);  // no drafts left
}

TEST_CASE("the root is a P-256 CA of ten years", "[authority]") {
    World world;
    const Authority authority = world.open().value();
    const X509Ptr root = parsed(authority.root().pem);
    REQUIRE(X509_check_ca(root.get()) == 1);
    REQUIRE(authority.root().not_before == test_now - backdating);
    REQUIRE(authority.root().not_after == test_now + root_ttl);
    REQUIRE((X509_get_key_usage(root.get()) & KU_KEY_CERT_SIGN) != 0);
}

TEST_CASE("what others may have read or changed is refused with the fix", "[authority]") {
    World world;
    (void)world.open().value();
    const std::string key = world.directory + "/root-key.pem",
                      certificate = world.directory + "/root-cert.pem";
    const auto refusal = [&] {
        const auto opened = world.open();
        REQUIRE_FALSE(opened);
        return opened.error();
    };
    chmod(key.c_str(), 0640);
    REQUIRE(refusal().reason == Reason::permission);
    REQUIRE(refusal().text.find("chmod 0600 " + key) != std::string::npos);
    chmod(key.c_str(), 0600);
    chmod(certificate.c_str(), 0666);
    REQUIRE(refusal().reason == Reason::permission);
    chmod(certificate.c_str(), 0644);
    chmod(world.directory.c_str(), 0755);
    REQUIRE(refusal().text.find("chmod 0700 " + world.directory) != std::string::npos);
    chmod(world.directory.c_str(), 0700);
    REQUIRE(world.open());
    if (geteuid() == 0) {  // only root can give files away
        REQUIRE(chown(key.c_str(), 65534, 65534) == 0);
        REQUIRE(refusal().reason == Reason::permission);
    }
}

TEST_CASE("a state directory that makes no sense is refused, naming the file", "[authority]") {
    World world;
    (void)world.open().value();
    const std::string key = world.directory + "/root-key.pem",
                      certificate = world.directory + "/root-cert.pem";
    const std::string good_key = contents(key), good_certificate = contents(certificate);
    const auto refused = [&](const std::string& path) {
        const auto opened = world.open();
        return !opened && opened.error().reason == Reason::bad_configuration &&
               opened.error().text.find(path) != std::string::npos;
    };
    overwrite(key, "nonsense");
    REQUIRE(refused(key));
    overwrite(key, std::string(PrivateKey::generate()->to_pem().reveal()));
    REQUIRE(refused(certificate));  // of another key
    overwrite(key, good_key);
    overwrite(certificate, good_certificate.substr(0, good_certificate.size() / 2));
    REQUIRE(refused(certificate));
    overwrite(certificate, "");
    REQUIRE(refused(certificate));
    overwrite(certificate, std::string(state_file_max + 1, 'x'));
    REQUIRE(refused(certificate));
    overwrite(certificate, good_certificate);
    std::filesystem::remove(key);
    REQUIRE(refused(key));
    overwrite(world.scratch.path("elsewhere"), good_key);
    std::filesystem::create_symlink(world.scratch.path("elsewhere"), key);
    REQUIRE_FALSE(world.open());  // links are not followed
}

TEST_CASE("a crash between key and certificate is repaired at the next start", "[authority]") {
    World world;
    (void)world.open().value();
    const std::string key = contents(world.directory + "/root-key.pem");
    std::filesystem::remove(world.directory + "/root-cert.pem");
    overwrite(world.directory + "/.root-cert.pem.new", "half a certif");
    REQUIRE(world.open());
    REQUIRE(contents(world.directory + "/root-key.pem") == key);
    REQUIRE_FALSE(std::filesystem::exists(world.directory + "/.root-cert.pem.new"));
}

TEST_CASE("a root that has ended is refused", "[authority]") {
    World world;
    (void)world.open().value();
    REQUIRE(world.open(test_now + root_ttl).error().reason == Reason::certificate_expired);
}

TEST_CASE("a directory that cannot be made is an error that names it", "[authority]") {
    const auto refused = Authority::open("/nonexistent/state", "cluster.local", test_now);
    REQUIRE(refused.error().reason == Reason::io);
    REQUIRE(refused.error().text.find("/nonexistent/state") != std::string::npos);
    Scratch scratch;
    overwrite(scratch.path("file"), "x");
    REQUIRE_FALSE(Authority::open(scratch.path("file"), "cluster.local", test_now));
}

TEST_CASE("a request becomes a chain that the other end takes [CA-3, CA-4, CA-5]", "[authority]") {
    World world;
    const Authority authority = world.open().value();
    OpensslHandshakes maker;
    const auto enrolled = [&](std::string_view who) {
        PrivateKey key = PrivateKey::generate().value();
        const auto answer = authority.sign(request(key, who), day, test_now).value();
        REQUIRE(answer.chain.size() == 2);
        REQUIRE(answer.chain[1] == authority.root().pem);
        return Credential::from_response(std::move(key), answer.chain, identity(who), test_now).value();
    };
    Pair pair = pair_of(maker, enrolled(alice), enrolled(bob));
    pair.run();
    REQUIRE((pair.client.done && pair.server.done));
}

TEST_CASE("a workload's certificate holds its one name and both purposes, and is no CA", "[authority]") {
    World world;
    const Authority authority = world.open().value();
    const PrivateKey key = PrivateKey::generate().value();
    const auto answer = authority.sign(request(key, alice), 1h, test_now).value();
    const X509Ptr leaf = parsed(answer.chain[0]);
    REQUIRE(only_identity(leaf.get()).value() == identity(alice));
    REQUIRE(X509_check_ca(leaf.get()) == 0);
    REQUIRE(X509_get_extended_key_usage(leaf.get()) == (XKU_SSL_SERVER | XKU_SSL_CLIENT));
    REQUIRE(X509_get_key_usage(leaf.get()) == KU_DIGITAL_SIGNATURE);
    const int san = X509_get_ext_by_NID(leaf.get(), NID_subject_alt_name, -1);
    REQUIRE(X509_EXTENSION_get_critical(X509_get_ext(leaf.get(), san)) == 1);
    REQUIRE(X509_NAME_entry_count(X509_get_subject_name(leaf.get())) == 0);
    REQUIRE(answer.serial == serial_of(leaf.get()));
    REQUIRE(answer.not_after == test_now + 1h);
    REQUIRE(to_wall(X509_get0_notBefore(leaf.get())) == test_now - backdating);
    REQUIRE(authority.sign(request(key, alice), 1h, test_now)->serial != answer.serial);
}

TEST_CASE("how long a certificate lives: default, cap, and never beyond the root [CA-6]", "[authority]") {
    World world;
    const Authority authority = world.open().value();
    const PrivateKey key = PrivateKey::generate().value();
    const Csr csr = request(key, alice);
    const auto end = [&](std::chrono::seconds ttl, WallTime now = test_now) {
        return authority.sign(csr, ttl, now)->not_after - now;
    };
    REQUIRE(end(0s) == day);
    REQUIRE(end(-5s) == day);
    REQUIRE(end(10s) == 10s);
    REQUIRE(end(day * 365) == leaf_ttl_max);
    REQUIRE(end(std::chrono::seconds::max()) == leaf_ttl_max);
    REQUIRE(end(day, test_now + root_ttl - 1h) == 1h);
    REQUIRE(authority.sign(csr, day, test_now + root_ttl).error().reason == Reason::certificate_expired);
}

TEST_CASE("a request is refused unless it is signed by its key and names one identity [CA-3]",
          "[authority]") {
    const PkeyPtr key(EVP_EC_gen("P-256")), other(EVP_EC_gen("P-256")), weak(EVP_RSA_gen(1024));
    const std::string name = std::string("URI:") + alice;
    const auto reason = [](const std::string& pem) {
        const auto csr = Csr::parse(pem);
        return csr ? Reason::none : csr.error().reason;
    };
    REQUIRE(reason(odd_csr(key.get(), key.get(), name)) == Reason::none);
    REQUIRE(reason(odd_csr(key.get(), key.get(), "critical," + name + ",DNS:ignored.example")) ==
            Reason::none);
    REQUIRE(reason(odd_csr(key.get(), other.get(), name)) == Reason::bad_input);
    REQUIRE(reason(odd_csr(weak.get(), weak.get(), name)) == Reason::bad_input);
    REQUIRE(reason(odd_csr(key.get(), key.get(), "")) == Reason::tls_identity);
    REQUIRE(reason(odd_csr(key.get(), key.get(), "DNS:only.example")) == Reason::tls_identity);
    REQUIRE(reason(odd_csr(key.get(), key.get(), name + ",URI:" + bob)) == Reason::tls_identity);
    REQUIRE(reason(odd_csr(key.get(), key.get(), "URI:https://example.com/")) == Reason::tls_identity);
    REQUIRE(reason("") == Reason::bad_input);
    REQUIRE(reason(std::string(csr_max + 1, 'x')) == Reason::limit);
    // A PEM that says it is encrypted would make OpenSSL ask for a password on the controller's terminal.
    REQUIRE(reason("-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,"
                   "00000000000000000000000000000000\n\nAAAA\n-----END CERTIFICATE REQUEST-----\n") ==
            Reason::bad_input);
}

TEST_CASE("a request altered anywhere is refused [CA-3]", "[authority]") {
    SeededRandom random(2);
    const PrivateKey key = PrivateKey::generate().value();
    const std::string good = make_csr(key, identity(alice)).value();
    for (int i = 0; i < 500; ++i) {
        std::string bad = good;
        const std::size_t at = 40 + random.below(bad.size() - 80);
        const char was = bad[at];
        bad[at] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[random.below(26)];
        if (bad[at] == was) continue;
        CAPTURE(bad);
        REQUIRE_FALSE(Csr::parse(bad));
    }
}

TEST_CASE("the controller's own certificate has the names it serves under", "[authority]") {
    World world;
    const Authority authority = world.open().value();
    const std::vector<std::string> names{"culvert.example", "10.0.0.1", "fd00::1"};
    const auto serving = authority.serving(names, day, test_now).value();
    const X509Ptr leaf = parsed(serving.chain);
    REQUIRE(X509_check_host(leaf.get(), "culvert.example", 0, 0, nullptr) == 1);
    REQUIRE(X509_check_host(leaf.get(), "other.example", 0, 0, nullptr) == 0);
    REQUIRE(X509_check_ip_asc(leaf.get(), "10.0.0.1", 0) == 1);
    REQUIRE(X509_check_ip_asc(leaf.get(), "fd00::1", 0) == 1);
    REQUIRE(X509_get_extended_key_usage(leaf.get()) == XKU_SSL_SERVER);
    REQUIRE(X509_verify(leaf.get(), X509_get0_pubkey(parsed(authority.root().pem).get())) == 1);
    REQUIRE(PrivateKey::from_pem(serving.key.reveal()));
    for (const std::string bad : {"", "two words", "a,URI:spiffe://x", "..", "-\n-"}) {
        CAPTURE(bad);
        REQUIRE(authority.serving(std::vector{bad}, day, test_now).error().reason ==
                Reason::bad_configuration);
    }
    REQUIRE(authority.serving({}, day, test_now).error().reason == Reason::bad_configuration);
}
