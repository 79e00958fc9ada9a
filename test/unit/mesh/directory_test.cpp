#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

#include <set>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

namespace {

std::string uid_at(const Directory& directory, std::string_view address, std::string_view network = "") {
    WorkloadPtr found = directory.workload_at(network, ip(address));
    return found ? std::string(found->uid()) : "";
}

std::string host_at(const Directory& directory, std::string_view address, std::string_view client,
                    std::string_view network = "") {
    ServicePtr found = directory.service_at(network, ip(address), client);
    return found ? found->key.to_string() : "";
}

auto in(std::string_view name_space, bool canonical = false) {
    return [=](Service& service) {
        service.name_space = name_space;
        service.canonical = canonical;
    };
}

std::set<std::string> endpoints(const Directory& directory, const ServiceKey& key) {
    std::set<std::string> uids;
    if (ServicePtr service = directory.service(key))
        service->endpoints.for_each([&](const WorkloadPtr& one) { uids.insert(std::string(one->name())); });
    return uids;
}

auto serves(std::string_view name) {
    return [=](Workload& workload) { workload.services[key(name)] = {}; };
}

}  // namespace

TEST_CASE("a record gives back all that WDS said of a workload") {
    Workload value = pod("a", {"10.0.0.1", "fd00::1"}, [](Workload& workload) {
        workload.network = "n1";
        workload.node = "node1";
        workload.locality = {"r", "z", "s"};
        workload.health = Health::unhealthy;
        workload.capacity = 7;
        workload.services[key("s")] = {{80, 8080, 1}};
    });
    CHECK(make_record(value)->value() == value);
    value.uid = "something else";  // the name is no tail of the uid
    value.addresses.push_back(ip("10.0.0.2"));
    CHECK(make_record(value)->value() == value);
    CHECK(make_record(value)->name() == "a");
}

TEST_CASE("of several workloads with one address an HBONE pod wins, then a pod, then HBONE [O-30]") {
    auto plain = [](Workload& workload) { workload.tunnel_protocol = TunnelProtocol::none; };
    auto other = [](Workload& workload) { workload.uid = "cluster1/networking.istio.io/WorkloadEntry/ns/b"; };
    auto plain_other = [&](Workload& workload) {
        plain(workload);
        other(workload);
        workload.uid += "2";
    };
    Workload best = pod("best", {"10.0.0.1"});
    Workload second = pod("second", {"10.0.0.1"}, plain);
    Workload third = pod("third", {"10.0.0.1"}, other);
    Workload last = pod("last", {"10.0.0.1"}, plain_other);
    CHECK(uid_at(*directory({last, third, second, best}), "10.0.0.1") == best.uid);
    CHECK(uid_at(*directory({best, second, third, last}), "10.0.0.1") == best.uid);
    CHECK(uid_at(*directory({last, third, second}), "10.0.0.1") == second.uid);
    CHECK(uid_at(*directory({last, third}), "10.0.0.1") == third.uid);
    CHECK(uid_at(*directory({last}), "10.0.0.1") == last.uid);
}

TEST_CASE("an address means something only in its network [O-30]") {
    auto other = [](Workload& workload) { workload.network = "n2"; };
    DirectoryPtr known = directory({pod("a", {"10.0.0.1"}), pod("b", {"10.0.0.1"}, other)});
    CHECK(uid_at(*known, "10.0.0.1") == "cluster1//Pod/ns/a");
    CHECK(uid_at(*known, "10.0.0.1", "n2") == "cluster1//Pod/ns/b");
    CHECK(uid_at(*known, "10.0.0.1", "n3").empty());
}

TEST_CASE("a workload on its host's network is no owner of its address [O-30]") {
    DirectoryPtr known = directory({pod("a", {"10.0.0.1"},
                                        [](Workload& workload) {
                                            workload.network_mode = NetworkMode::host_network;
                                            workload.services[key("s")] = {};
                                        }),
                                    service("s", {"10.1.0.1"})});
    CHECK(uid_at(*known, "10.0.0.1").empty());
    CHECK(endpoints(*known, key("s")) == std::set<std::string>{"a"});
}

TEST_CASE("a pod finds itself by exact name, namespace and service account [I-2]") {
    DirectoryPtr known = directory({pod("a", {"10.0.0.1"})});
    CHECK(known->local_workload("ns", "a", "a-sa"));
    CHECK_FALSE(known->local_workload("ns", "a", "default"));
    CHECK_FALSE(known->local_workload("other", "a", "a-sa"));
    CHECK_FALSE(known->local_workload("ns", "b", "a-sa"));
}

TEST_CASE("a shared VIP is the client's namespace's, then the last canonical one, then the first [O-27]") {
    auto vip = {std::string_view("10.1.0.1")};
    DirectoryPtr known = directory({service("s", vip, in("first")), service("s", vip, in("c1", true)),
                                    service("s", vip, in("c2", true))});
    CHECK(host_at(*known, "10.1.0.1", "c1") == key("s", "c1").to_string());
    CHECK(host_at(*known, "10.1.0.1", "first") == key("s", "first").to_string());
    CHECK(host_at(*known, "10.1.0.1", "elsewhere") == key("s", "c2").to_string());
    known = directory({service("s", vip, in("first")), service("s", vip, in("second"))});
    CHECK(host_at(*known, "10.1.0.1", "elsewhere") == key("s", "first").to_string());
}

TEST_CASE("inside one namespace the newer service takes a shared VIP over [O-28]") {
    DirectoryWriter writer;
    DirectoryPtr known =
        writer.apply({{service("old", {"10.1.0.1"}), service("new", {"10.1.0.1"})}, {}, {}, {}});
    CHECK(host_at(*known, "10.1.0.1", "elsewhere") == key("new").to_string());
    CHECK(host_at(*known, "10.1.0.1", "ns") == key("new").to_string());
    known = writer.apply({{}, {key("new").to_string()}, {}, {}});
    CHECK(host_at(*known, "10.1.0.1", "ns") == key("old").to_string());
}

TEST_CASE("a service of NAMESPACE visibility does not exist for others, by VIP, range or name [O-29]") {
    auto hidden = [](Service& service) {
        service.name_space = "own";
        service.visibility = Visibility::name_space;
    };
    DirectoryPtr known = directory({service("s", {"10.1.0.1", "10.2.0.0/16"}, hidden)});
    std::string host = key("s", "own").hostname;
    CHECK(host_at(*known, "10.1.0.1", "own") == key("s", "own").to_string());
    CHECK(host_at(*known, "10.2.3.4", "own") == key("s", "own").to_string());
    CHECK(host_at(*known, "10.1.0.1", "ns").empty());
    CHECK(host_at(*known, "10.2.3.4", "ns").empty());
    CHECK(known->service_by_hostname(host, "own"));
    CHECK_FALSE(known->service_by_hostname(host, "ns"));
    CHECK(known->service(key("s", "own")));  // references are not filtered
}

TEST_CASE("an exact VIP that nobody may see falls through to a range [O-27]") {
    auto hidden = [](Service& service) {
        service.name_space = "own";
        service.visibility = Visibility::name_space;
    };
    DirectoryPtr known =
        directory({service("exact", {"10.2.0.1"}, hidden), service("range", {"10.2.0.0/16"}, in("other"))});
    CHECK(host_at(*known, "10.2.0.1", "ns") == key("range", "other").to_string());
    CHECK(host_at(*known, "10.2.0.1", "own") == key("exact", "own").to_string());
}

TEST_CASE("among ranges the client's namespace beats the length, the length beats canonical [O-27]") {
    DirectoryPtr known =
        directory({service("wide", {"10.0.0.0/8"}, in("mine")), service("long", {"10.2.3.0/24"}, in("a")),
                   service("canonical", {"10.2.0.0/16"}, in("b", true))});
    CHECK(host_at(*known, "10.2.3.4", "mine") == key("wide", "mine").to_string());
    CHECK(host_at(*known, "10.2.3.4", "ns") == key("long", "a").to_string());
    CHECK(host_at(*known, "10.2.9.9", "ns") == key("canonical", "b").to_string());
    CHECK(host_at(*known, "10.9.9.9", "ns") == key("wide", "mine").to_string());
    CHECK(host_at(*known, "11.0.0.1", "ns").empty());
    known = directory(
        {service("plain", {"10.2.0.0/16"}, in("a")), service("canonical", {"10.2.0.0/16"}, in("b", true))});
    CHECK(host_at(*known, "10.2.9.9", "ns") == key("canonical", "b").to_string());
}

TEST_CASE("an exact VIP beats any range, and ranges keep to their network and family [O-27]") {
    auto other = [](Service& made) { made.vips[0].network = "n2"; };
    DirectoryPtr known =
        directory({service("range", {"10.1.0.0/16"}), service("exact", {"10.1.0.1"}, in("other")),
                   service("far", {"10.3.0.0/16"}, other), service("six", {"fd00:1::/32"})});
    CHECK(host_at(*known, "10.1.0.1", "ns") == key("exact", "other").to_string());
    CHECK(host_at(*known, "10.3.0.1", "ns").empty());
    CHECK(host_at(*known, "10.3.0.1", "ns", "n2") == key("far").to_string());
    CHECK(host_at(*known, "fd00:1::7", "ns") == key("six").to_string());
    CHECK(host_at(*known, "fd00:2::7", "ns").empty());
    CHECK(host_at(*directory({service("all", {"0.0.0.0/0"})}), "fd00::1", "ns").empty());
    CHECK(host_at(*directory({service("one", {"10.1.0.1/32"})}), "10.1.0.1", "ns") == key("one").to_string());
}

TEST_CASE("a range that goes is found no more [O-27]") {
    DirectoryWriter writer;
    writer.apply({{service("s", {"10.1.0.0/16"})}, {}, {}, {}});
    DirectoryPtr known = writer.apply({{service("s", {"10.3.0.0/16"})}, {}, {}, {}});
    CHECK(host_at(*known, "10.1.0.1", "ns").empty());
    CHECK(host_at(*known, "10.3.0.1", "ns") == key("s").to_string());
}

TEST_CASE("a hostname in several namespaces: the client's, canonical, preferred, first [D-9]") {
    auto host = [](std::string_view name_space, bool canonical = false) {
        return service("s", {"10.1.0.1"}, [=](Service& made) {
            made.name_space = name_space;
            made.hostname = "example.com";
            made.canonical = canonical;
        });
    };
    auto chosen = [](const Directory& known, std::string_view client, std::string_view preferred) {
        return known.service_by_hostname("example.com", client, preferred)->key.name_space;
    };
    DirectoryPtr known = directory({host("first"), host("preferred"), host("canonical", true)});
    CHECK(chosen(*known, "first", "preferred") == "first");
    CHECK(chosen(*known, "ns", "preferred") == "canonical");
    known = directory({host("first"), host("preferred")});
    CHECK(chosen(*known, "ns", "preferred") == "preferred");
    CHECK(chosen(*known, "ns", "") == "first");
    CHECK_FALSE(known->service_by_hostname("other.com", "ns"));
}

TEST_CASE("resources are applied in order and before removals: a name in both ends up removed [X-10]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1"});
    Workload later = pod("a", {"10.0.0.2"});
    DirectoryPtr known = writer.apply({{a, later}, {}, {}, {}});
    CHECK(uid_at(*known, "10.0.0.1").empty());
    CHECK(uid_at(*known, "10.0.0.2") == a.uid);
    known = writer.apply({{a}, {a.uid}, {}, {}});
    CHECK(known->workloads() == 0);
    CHECK(uid_at(*known, "10.0.0.1").empty());
}

TEST_CASE("a removed name is a workload's uid, else a service's key, else only counted [X-11]") {
    DirectoryWriter writer;
    writer.apply({{pod("a", {"10.0.0.1"}), service("s", {"10.1.0.1"})}, {}, {}, {}});
    DirectoryPtr known = writer.apply({{}, {key("s").to_string(), "ns/unknown", "a//b/c", ""}, {}, {}});
    CHECK(writer.unknown_removals() == 3);
    CHECK_FALSE(known->service(key("s")));
    CHECK(host_at(*known, "10.1.0.1", "ns").empty());
    known = writer.apply({{}, {"cluster1//Pod/ns/a"}, {}, {}});
    CHECK(writer.unknown_removals() == 0);
    CHECK(known->workloads() == 0);
}

TEST_CASE("endpoints may come before their service, and wait for it [X-23]") {
    DirectoryWriter writer;
    DirectoryPtr known = writer.apply({{pod("a", {"10.0.0.1"}, serves("s"))}, {}, {}, {}});
    CHECK_FALSE(known->service(key("s")));
    known = writer.apply({{service("s", {"10.1.0.1"})}, {}, {}, {}});
    CHECK(endpoints(*known, key("s")) == std::set<std::string>{"a"});
}

TEST_CASE("a service that goes and comes back keeps its live endpoints [X-23]") {
    DirectoryWriter writer;
    writer.apply({{service("s", {"10.1.0.1"}), pod("a", {"10.0.0.1"}, serves("s"))}, {}, {}, {}});
    writer.apply({{}, {key("s").to_string()}, {}, {}});
    DirectoryPtr known = writer.apply({{service("s", {"10.1.0.9"})}, {}, {}, {}});
    CHECK(endpoints(*known, key("s")) == std::set<std::string>{"a"});
}

TEST_CASE("what is staged for a service goes with its last endpoint [X-23]") {
    DirectoryWriter writer;
    writer.apply({{pod("a", {"10.0.0.1"}, serves("s"))}, {}, {}, {}});
    DirectoryPtr known = writer.apply({{}, {"cluster1//Pod/ns/a"}, {}, {}});
    int services = 0;
    known->for_each_service([&](const ServicePtr&) { ++services; });
    CHECK(services == 0);
}

TEST_CASE("an unhealthy endpoint is kept, so that a health policy that turns brings it back [X-23]") {
    DirectoryWriter writer;
    DirectoryPtr known = writer.apply({{service("s", {"10.1.0.1"}), pod("a", {"10.0.0.1"},
                                                                        [](Workload& workload) {
                                                                            workload.services[key("s")] = {};
                                                                            workload.health =
                                                                                Health::unhealthy;
                                                                        })},
                                       {},
                                       {},
                                       {}});
    CHECK(endpoints(*known, key("s")) == std::set<std::string>{"a"});
}

TEST_CASE("within one delta an endpoint that left and came back is there once [X-10]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1"}, serves("s"));
    writer.apply({{service("s", {"10.1.0.1"}), a}, {}, {}, {}});
    DirectoryPtr known = writer.apply({{pod("a", {"10.0.0.1"}), a}, {}, {}, {}});
    CHECK(endpoints(*known, key("s")) == std::set<std::string>{"a"});
    CHECK(known->service(key("s"))->endpoints.size() == 1);
    known = writer.apply({{pod("a", {"10.0.0.1"})}, {}, {}, {}});
    CHECK(endpoints(*known, key("s")).empty());
}

TEST_CASE("an old snapshot is what it was, whatever comes after it") {
    DirectoryWriter writer;
    DirectoryPtr before =
        writer.apply({{service("s", {"10.1.0.1"}), pod("a", {"10.0.0.1"}, serves("s"))}, {}, {}, {}});
    writer.apply({{pod("a", {"10.0.0.2"})}, {key("s").to_string()}, {}, {}});
    CHECK(uid_at(*before, "10.0.0.1") == "cluster1//Pod/ns/a");
    CHECK(endpoints(*before, key("s")) == std::set<std::string>{"a"});
}

TEST_CASE("a removed HBONE address is remembered until somebody else claims it [S14]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1", "fd00::1"});
    writer.apply({{a, pod("plain", {"10.0.0.2"},
                          [](Workload& workload) { workload.tunnel_protocol = TunnelProtocol::none; })},
                  {},
                  {},
                  {}});
    DirectoryPtr known = writer.apply({{}, {a.uid, "cluster1//Pod/ns/plain"}, {}, {}});
    CHECK(known->was_hbone("", ip("10.0.0.1")));
    CHECK(known->was_hbone("", ip("fd00::1")));
    CHECK_FALSE(known->was_hbone("n2", ip("10.0.0.1")));
    CHECK_FALSE(known->was_hbone("", ip("10.0.0.2")));
    known = writer.apply({{pod("b", {"10.0.0.1"},
                               [](Workload& workload) { workload.tunnel_protocol = TunnelProtocol::none; })},
                          {},
                          {},
                          {}});
    CHECK_FALSE(known->was_hbone("", ip("10.0.0.1")));
    CHECK(known->was_hbone("", ip("fd00::1")));
}

TEST_CASE("the VIP of a removed service with HBONE endpoints is remembered too [S14]") {
    DirectoryWriter writer;
    writer.apply(
        {{service("s", {"10.1.0.1"}), service("empty", {"10.1.0.2"}), pod("a", {"10.0.0.1"}, serves("s"))},
         {},
         {},
         {}});
    DirectoryPtr known = writer.apply({{}, {key("s").to_string(), key("empty").to_string()}, {}, {}});
    CHECK(known->was_hbone("", ip("10.1.0.1")));
    CHECK_FALSE(known->was_hbone("", ip("10.1.0.2")));
    known = writer.apply({{service("t", {"10.1.0.1"})}, {}, {}, {}});
    CHECK_FALSE(known->was_hbone("", ip("10.1.0.1")));
}

TEST_CASE("a VIP is remembered also when its pods leave before it in the same delta [S14]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1"}, serves("s"));
    writer.apply({{service("s", {"10.1.0.1"}), a}, {}, {}, {}});
    DirectoryPtr known = writer.apply({{}, {a.uid, key("s").to_string()}, {}, {}});
    CHECK(known->was_hbone("", ip("10.1.0.1")));
}

TEST_CASE("remembered addresses are bounded; the oldest is forgotten [S14]") {
    DirectoryWriter writer;
    std::size_t count = DirectoryWriter::gone_max + 10;
    DirectoryPtr known;
    auto address = [](std::size_t i) { return Ip::v4(static_cast<std::uint32_t>(0x0a000000 + i)); };
    for (std::size_t i = 0; i < count;) {
        Delta there;
        Delta gone;
        for (std::size_t end = std::min(count, i + 10'000); i < end; ++i) {
            Workload one = pod(std::to_string(i), {});
            one.addresses = {address(i)};
            there.addresses.emplace_back(one);
            gone.removed_addresses.push_back(one.uid);
        }
        writer.apply(there);
        known = writer.apply(gone);
    }
    CHECK(known->was_hbone("", address(count - 1)));
    CHECK(known->was_hbone("", address(10)));
    CHECK_FALSE(known->was_hbone("", address(9)));
    CHECK_FALSE(known->was_hbone("", address(0)));
}

TEST_CASE(
    "the policy version moves with policies and with a workload's list of them, with nothing else [R-11]") {
    DirectoryWriter writer;
    Workload a = pod("a", {"10.0.0.1"});
    std::uint64_t before = writer.current()->policy_version();
    CHECK(writer.apply({{a}, {}, {}, {}})->policy_version() == before);
    NamedPolicy policy{"ns/p", {"p", "ns", PolicyScope::name_space, PolicyAction::deny, {}, false}};
    std::uint64_t with_policy = writer.apply({{}, {}, {policy}, {}})->policy_version();
    CHECK(with_policy != before);
    CHECK(writer.apply({{}, {}, {policy}, {}})->policy_version() == with_policy);  // the same again
    a.authorization_policies = {"ns/p"};
    std::uint64_t with_list = writer.apply({{a}, {}, {}, {}})->policy_version();
    CHECK(with_list != with_policy);
    CHECK(writer.apply({{}, {}, {}, {"ns/p"}})->policy_version() != with_list);
}

TEST_CASE("once complete a directory stays complete [X-12]") {
    DirectoryWriter writer;
    CHECK_FALSE(writer.current()->synced().all());
    writer.apply({{}, {}, {}, {}, true, false});
    CHECK_FALSE(writer.current()->synced().all());
    writer.apply({{}, {}, {}, {}, false, true});
    writer.apply({});
    CHECK(writer.current()->synced().all());
}
