// Records and handshakes, one core, CPU time. GB/s counts plaintext. bench/README.md explains the numbers.
#include "lib/base/check.h"
#include "lib/tls/handshake.h"
#include "lib/tls/x509.h"
#include "test/support/pki.h"

#include <benchmark/benchmark.h>

using namespace culvert;
using namespace culvert::tls;
using namespace culvert::test;

namespace {

constexpr std::size_t batch = 16;

TrafficKey bench_key(Suite suite) { return {suite, Secret(secret_size(suite)), 0}; }
Suite suite_of(const benchmark::State& state) {
    return state.range(1) == 128 ? Suite::aes_128_gcm_sha256 : Suite::aes_256_gcm_sha384;
}

// A nine-byte frame header and its payload into one record, as every link does.
void seal(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    Sealer out(bench_key(suite_of(state)));
    const Buffer header(9), payload(size - 9);
    const std::array<ConstBytes, 2> pieces{ConstBytes(header), ConstBytes(payload)};
    Buffer wire(batch * Sealer::bound(size));
    for (auto _ : state) {
        std::size_t at = 0;
        for (std::size_t i = 0; i < batch; ++i) at += out.seal(pieces, Bytes(wire).subspan(at));
        benchmark::DoNotOptimize(wire.data());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(batch * size));
}

void open(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    const Suite suite = suite_of(state);
    Sealer out(bench_key(suite));
    Opener in(bench_key(suite));
    const Buffer text(size);
    constexpr std::size_t records = 256;
    Buffer wire(records * Sealer::bound(size));
    for (auto _ : state) {
        state.PauseTiming();
        std::size_t end = 0;
        for (std::size_t i = 0; i < records; ++i) end += out.seal(text, Bytes(wire).subspan(end));
        state.ResumeTiming();
        Bytes rest = Bytes(wire).first(end);
        while (!rest.empty()) {
            const auto opened = in.open(rest);
            check(opened.has_value());
            rest = rest.subspan(opened->used);
        }
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(records * size));
}

// What an idle link pays for its first record.
void rederive(benchmark::State& state) {
    Sealer out(bench_key(Suite::aes_256_gcm_sha384));
    Buffer wire(Sealer::bound(1));
    for (auto _ : state) {
        out.release();
        benchmark::DoNotOptimize(out.seal(as_bytes("x"), wire));
    }
}

// Both sides of a full mTLS handshake over memory; the argument says whether chains are remembered.
void handshake(benchmark::State& state) {
    const Ca ca;
    const Profile pinned{true, "X25519:P-256"};
    const auto a = ca.credential("spiffe://cluster.local/ns/a/sa/a", pinned);
    const auto b = ca.credential("spiffe://cluster.local/ns/b/sa/b", pinned);
    const bool remembered = state.range(0) != 0;
    auto client_maker = std::make_unique<OpensslHandshakes>(),
         server_maker = std::make_unique<OpensslHandshakes>();
    for (auto _ : state) {
        if (!remembered) {
            client_maker = std::make_unique<OpensslHandshakes>();
            server_maker = std::make_unique<OpensslHandshakes>();
        }
        auto client = client_maker->client(a, {b->identity()}, test_now);
        auto server = server_maker->server(b, test_now);
        check(client->advance({}).has_value());
        check(server->advance(client->take_output()).has_value());
        check(client->advance(server->take_output()).value().done);
        check(server->advance(client->take_output()).value().done);
        benchmark::DoNotOptimize(server->take().peer.serial.data());
        benchmark::DoNotOptimize(client->take().peer.serial.data());
    }
}

void credential(benchmark::State& state) {
    const Ca ca;
    Leaf leaf;
    leaf.uris = {"spiffe://cluster.local/ns/a/sa/a"};
    const auto issued = ca.issue(leaf);
    for (auto _ : state) {
        benchmark::DoNotOptimize(
            Credential::from_pem(issued.key, issued.chain, ca.root(), test_now).value().get());
    }
}

// The floor under a handshake: the public-key work of both sides, by the same library.
void sign(benchmark::State& state) {
    const PkeyPtr key(EVP_EC_gen("P-256"));
    std::array<unsigned char, 80> signature{};
    for (auto _ : state) {
        EVP_MD_CTX* context = EVP_MD_CTX_new();
        std::size_t size = signature.size();
        EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key.get());
        EVP_DigestSign(context, signature.data(), &size, signature.data(), 64);
        EVP_MD_CTX_free(context);
    }
}
void verify(benchmark::State& state) {
    const PkeyPtr key(EVP_EC_gen("P-256"));
    std::array<unsigned char, 80> signature{}, text{};
    std::size_t size = signature.size();
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key.get());
    EVP_DigestSign(context, signature.data(), &size, text.data(), 64);
    EVP_MD_CTX_free(context);
    for (auto _ : state) {
        context = EVP_MD_CTX_new();
        EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key.get());
        check(EVP_DigestVerify(context, signature.data(), size, text.data(), 64) == 1);
        EVP_MD_CTX_free(context);
    }
}
void exchange(benchmark::State& state) {
    const PkeyPtr peer(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
    std::array<unsigned char, 32> secret{};
    for (auto _ : state) {
        const PkeyPtr ours(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
        EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(ours.get(), nullptr);
        std::size_t size = secret.size();
        EVP_PKEY_derive_init(context);
        EVP_PKEY_derive_set_peer(context, peer.get());
        EVP_PKEY_derive(context, secret.data(), &size);
        EVP_PKEY_CTX_free(context);
    }
}

}  // namespace

BENCHMARK(seal)->ArgNames({"bytes", "aes"})->ArgsProduct({{128, 1024, 16384}, {128, 256}});
BENCHMARK(open)->ArgNames({"bytes", "aes"})->ArgsProduct({{128, 1024, 16384}, {128, 256}});
BENCHMARK(rederive);
BENCHMARK(handshake)->ArgName("remembered")->Arg(0)->Arg(1);
BENCHMARK(credential);
BENCHMARK(sign);
BENCHMARK(verify);
BENCHMARK(exchange);
