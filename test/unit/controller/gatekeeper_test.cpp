// Who may call and who gets which certificate.
#include "controller/gatekeeper.h"
#include "lib/tls/credentials.h"
#include "test/support/manual_executor.h"
#include "test/support/scratch.h"
#include "test/unit/controller/objects.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::controller;
using namespace culvert::test;

namespace {

struct Office {
    Office()
        : authority(tls::Authority::open(scratch.path(), mesh.trust_domain, clock.wall()).value()),
          tokens(tls::TokenKey::open(scratch.path()).value()), refusals(metrics),
          gate({mesh, authority, tokens, residents, clock, refusals, metrics}) {}

    void put(const kube::Object& object) { residents.replace(nullptr, &object); }
    Result<std::vector<std::string>> sign(const std::string& node, const std::string& asked,
                                          const std::string& in_csr,
                                          std::chrono::seconds ttl = std::chrono::hours(1)) {
        Result<std::vector<std::string>> out = refuse(Reason::internal);
        const auto key = tls::PrivateKey::generate().value();
        const auto csr = tls::make_csr(key, mesh::Identity::parse(in_csr).value()).value();
        gate.sign({node, "test"}, {csr, ttl, asked}, [&](auto chain) { out = std::move(chain); });
        return out;
    }
    Result<std::vector<std::string>> sign(const std::string& node, const std::string& identity) {
        return sign(node, identity, identity);
    }

    const Mesh mesh;
    const Scratch scratch;
    ManualClock clock;
    Registry metrics;
    tls::Authority authority;
    tls::TokenKey tokens;
    Residents residents;
    Refusals refusals;
    Gatekeeper gate;
};

std::string identity(const std::string& account, const std::string& domain = "cluster.local") {
    return "spiffe://" + domain + "/ns/shop/sa/" + account;
}

}  // namespace

TEST_CASE("a caller is the node of its token, and the node must exist") {
    Office office;
    office.put(node("n1"));
    auto token = [&](const std::string& name, WallTime at) {
        return std::string(office.tokens.make(name, at).value().reveal());
    };
    const WallTime now = office.clock.wall();
    const xds::Caller caller = office.gate.authenticate({token("n1", now), "peer"}).value();
    CHECK(caller.node == "n1");
    CHECK(caller.peer == "peer");
    CHECK(office.gate.still(caller));
    office.clock.set({tls::token_ttl + tls::token_leeway - std::chrono::seconds(1)});
    CHECK(office.gate.still(caller));
    office.clock.set({tls::token_ttl + tls::token_leeway});
    CHECK(office.gate.still(caller).error().reason == Reason::token_rejected);
    office.clock.set({});
    for (const std::string& bad :
         {std::string(), std::string("x.y.z"), token("n2", now), token("n1", now - std::chrono::hours(13))})
        CHECK(office.gate.authenticate({bad, "peer"}).error().reason == Reason::token_rejected);
    CHECK(office.refusals.list() ==
          std::vector<std::pair<std::string, std::uint64_t>>{{"token_rejected", 4}});
    const kube::Object gone = node("n1");
    office.residents.replace(&gone, nullptr);
    CHECK_FALSE(office.gate.authenticate({token("n1", now), "peer"}));
    CHECK(office.gate.still(caller).error().reason == Reason::token_rejected);
}

TEST_CASE("a node gets certificates for identities of its own living pods and for nobody else [CA-6]") {
    Office office;
    office.put(node("n1"));
    office.put(node("n2"));
    office.put(pod("a", "n1", "web"));
    office.put(pod("b", "n2", "db"));
    auto finished = pod("c", "n1", "job");
    finished.phase = kube::Phase::succeeded;
    office.put(finished);
    auto on_host = pod("d", "n1", "host");
    on_host.host_network = true;
    office.put(on_host);

    auto good = office.sign("n1", identity("web"));
    REQUIRE(good);
    CHECK(good->size() >= 2);  // CA-4: leaf, then roots
    struct Row {
        const char* asked;
        Reason reason;
    };
    for (const Row& row :
         {Row{"spiffe://cluster.local/ns/shop/sa/db", Reason::ca_rejected},
          Row{"spiffe://cluster.local/ns/shop/sa/job", Reason::ca_rejected},
          Row{"spiffe://cluster.local/ns/shop/sa/host", Reason::ca_rejected},
          Row{"spiffe://cluster.local/ns/other/sa/web", Reason::ca_rejected},
          Row{"spiffe://elsewhere.example/ns/shop/sa/web", Reason::tls_identity},
          Row{"spiffe://cluster.local/web", Reason::tls_identity}, Row{"", Reason::ca_rejected}}) {
        INFO(row.asked);
        auto refused = office.sign("n1", row.asked, identity("web"));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().reason == row.reason);
    }
    CHECK(office.sign("n2", identity("db")));
    CHECK_FALSE(office.sign("n3", identity("db")));
}

TEST_CASE("a request whose own name is another than the asked one is refused") {
    Office office;
    office.put(pod("a", "n1", "web"));
    office.put(pod("b", "n1", "db"));
    CHECK(office.sign("n1", identity("web"), identity("db")).error().reason == Reason::tls_identity);
    Result<std::vector<std::string>> out = refuse(Reason::internal);
    office.gate.sign({"n1", "test"}, {"nonsense", {}, identity("web")},
                     [&](auto chain) { out = std::move(chain); });
    CHECK(out.error().reason == Reason::bad_input);
}

TEST_CASE("an identity lives on a node as long as one pod with it does") {
    Residents residents;
    const kube::Object one = pod("a", "n1", "web"), two = pod("b", "n1", "web"),
                       moved = pod("b", "n2", "web");
    residents.replace(nullptr, &one);
    residents.replace(nullptr, &two);
    residents.replace(&one, nullptr);
    CHECK(residents.lives_on("n1", {"shop", "web"}));
    residents.replace(&two, &moved);
    CHECK_FALSE(residents.lives_on("n1", {"shop", "web"}));
    CHECK(residents.lives_on("n2", {"shop", "web"}));
}
