#include "lib/mesh/dns.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

#include <set>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;
namespace dns = culvert::mesh::dns;

namespace {

Buffer message(std::string_view hex) {
    Buffer bytes;
    std::string digits;
    for (char c : hex)
        if (c != ' ') digits += c;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        bytes.push_back(std::byte(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return bytes;
}

// A query as a resolver sends it: RD set, one question.
Buffer query_bytes(std::string_view name, std::uint16_t type, std::optional<std::uint16_t> edns = {}) {
    Buffer bytes = message("1234 0100 0001 0000 0000");
    append(bytes, message(edns ? "0001" : "0000"));
    while (!name.empty()) {
        std::string_view label = name.substr(0, name.find('.'));
        bytes.push_back(std::byte(label.size()));
        append(bytes, as_bytes(label));
        name.remove_prefix(std::min(name.size(), label.size() + 1));
    }
    bytes.push_back(std::byte(0));
    auto number = [&](unsigned value) {
        bytes.push_back(std::byte(value >> 8));
        bytes.push_back(std::byte(value & 255));
    };
    number(type);
    number(1);
    if (edns) {
        append(bytes, message("00 0029"));
        number(*edns);
        append(bytes, message("00000000 0000"));
    }
    return bytes;
}

const Workload client = pod("client", {"10.0.0.99"}, [](Workload& workload) { workload.name_space = "ns1"; });

dns::Answer ask(const DirectoryPtr& known, std::string_view name, dns::Type type = dns::Type::a,
                bool ipv6 = true, const Workload& asker = client, const std::string& preferred = "") {
    Buffer bytes = query_bytes(name, static_cast<std::uint16_t>(type));
    dns::Query query = dns::parse(bytes).value();
    Surroundings around;
    around.preferred_service_namespace = preferred;
    SeededRandom random(1);
    WorkloadPtr record = make_record(asker);
    return dns::resolve(*known, around, {*record, ipv6}, query, random);
}

// What an answer says, in one line: "forward", "empty", "1.2.3.4", "cname.name: 1.2.3.4 1.2.3.5".
std::string said(const dns::Answer& answer) {
    if (answer.what == dns::Answer::What::forward) return "forward";
    if (answer.code != dns::Code::no_error) return "code " + std::to_string(static_cast<int>(answer.code));
    if (answer.addresses.empty()) return "empty";
    std::string text = answer.canonical_name.empty() ? "" : answer.canonical_name + ": ";
    std::vector<Ip> sorted = answer.addresses;
    std::ranges::sort(sorted);
    for (Ip one : sorted) text += (text.empty() || text.ends_with(' ') ? "" : " ") + one.to_string();
    return text;
}

auto in(std::string name_space, std::string hostname = "") {
    return [=](Service& made) {
        made.name_space = name_space;
        if (!hostname.empty()) made.hostname = hostname;
    };
}

DirectoryPtr shop() {
    auto serves = [](std::string name, std::string name_space) {
        return [=](Workload& workload) { workload.services[key(name, name_space)] = {}; };
    };
    auto sick = [](Workload& workload) {
        workload.services[key("headless", "ns1")] = {};
        workload.health = Health::unhealthy;
    };
    auto far = [](Service& made) {
        made.name_space = "ns1";
        made.vips[0].network = "n2";
    };
    auto ranged = [](Service& made) {
        made.name_space = "ns1";
        made.hostname = "range.example";
    };
    auto hidden = [](Service& made) {
        made.name_space = "ns2";
        made.hostname = "hidden.example";
        made.visibility = Visibility::name_space;
    };
    auto four = [](Service& made) {
        made.name_space = "ns1";
        made.ip_families = IpFamilies::v4_only;
    };
    return directory(
        {service("svc", {"10.1.0.1", "fd00:1::1"}, in("ns1")), service("svc", {"10.1.0.2"}, in("ns2")),
         service("far", {"10.1.0.3"}, far), service("headless", {}, in("ns1")),
         service("ext", {"10.1.0.4"}, in("ns2", "www.example.com")),
         service("wild", {"10.1.0.5"}, in("ns2", "*.wild.example")),
         service("bare", {}, in("ns1", "no.vip.example")), service("ranged", {"10.2.0.0/16"}, ranged),
         service("hidden", {"10.1.0.6"}, hidden), service("four", {"10.1.0.7", "fd00:1::7"}, four),
         pod("h1", {"10.0.0.1", "fd00::1"}, serves("headless", "ns1")),
         pod("h2", {"10.0.0.2", "10.0.0.22"}, serves("headless", "ns1")), pod("h3", {"10.0.0.3"}, sick)});
}

}  // namespace

TEST_CASE("a query is read as RFC 1035 writes it, its name in lower case") {
    dns::Query query = dns::parse(query_bytes("WWW.Example.com", 28, 1232)).value();
    CHECK(query.id == 0x1234);
    CHECK(query.name == "www.example.com");
    CHECK(query.type == 28);
    CHECK(query.query_class == 1);
    CHECK(query.recursion_desired);
    CHECK(query.edns_size == 1232);
    CHECK_FALSE(query.malformed);
    CHECK(query.question.size() == 21);
}

TEST_CASE("what is no whole header gets no answer; what is no whole question is malformed") {
    Buffer whole = query_bytes("www.example.com", 1, 1232);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        auto query = dns::parse(ConstBytes(whole).first(size));
        CAPTURE(size);
        CHECK(query.has_value() == (size >= 12));
        if (query) CHECK(query->malformed);
    }
    CHECK(dns::parse(message("1234 0100 0002 0000 0000 0000"))->malformed);  // two questions
    CHECK(dns::parse(message("1234 0100 0001 0000 0000 0000 c00c 0001 0001"))
              ->malformed);  // a pointer to itself
    std::string label = "3f" + std::string(126, '6');
    CHECK(
        dns::parse(message("1234 0100 0001 0000 0000 0000" + label + label + label + label + "00 0001 0001"))
            ->malformed);
}

TEST_CASE("a standard query only: others are NOTIMP, an answer is FORMERR [D-2]") {
    auto answer = [](std::string_view flags) {
        Buffer bytes = query_bytes("a.example", 1);
        Buffer two = message(flags);
        std::ranges::copy(two, bytes.begin() + 2);
        SeededRandom random(1);
        WorkloadPtr record = make_record(client);
        return dns::resolve(*directory({}), {}, {*record, true}, dns::parse(bytes).value(), random);
    };
    CHECK(answer("0100").what == dns::Answer::What::forward);
    CHECK(answer("1100").code == dns::Code::not_implemented);
    CHECK(answer("2900").code == dns::Code::not_implemented);
    CHECK(answer("8100").code == dns::Code::format_error);
}

TEST_CASE("only A and AAAA of class IN are answered here [D-4]") {
    DirectoryPtr known = shop();
    CHECK(said(ask(known, "svc.ns1.svc.cluster.local")) == "10.1.0.1");
    for (int type : {2, 5, 6, 15, 16, 33, 65, 255})
        CHECK(said(ask(known, "svc.ns1.svc.cluster.local", static_cast<dns::Type>(type))) == "forward");
}

TEST_CASE("a name is what a pod of that namespace means [D-5, D-6, D-7, D-8, D-10, D-11, D-15, D-16]") {
    struct Row {
        const char* name;
        const char* answer;
    };
    auto row = GENERATE(values<Row>({
        // short names and their expansions
        {"svc", "10.1.0.1"},
        {"SVC", "10.1.0.1"},
        {"svc.ns1", "10.1.0.1"},
        {"svc.ns2", "10.1.0.2"},
        {"svc.ns1.svc", "10.1.0.1"},
        {"svc.ns2.svc", "10.1.0.2"},
        {"svc.ns1.svc.cluster.local", "10.1.0.1"},
        {"svc.ns2.svc.cluster.local", "10.1.0.2"},
        {"unknown", "forward"},
        {"svc.ns3", "forward"},
        {"svc.ns1.svc.cluster", "forward"},
        {"a.svc.ns1.svc.cluster.local", "forward"},
        // search domains that a resolver appended
        {"svc.ns2.ns1.svc.cluster.local", "svc.ns2: 10.1.0.2"},
        {"svc.ns2.svc.cluster.local.ns1.svc.cluster.local", "svc.ns2.svc.cluster.local: 10.1.0.2"},
        {"svc.ns2.svc.cluster.local.svc.cluster.local", "svc.ns2.svc.cluster.local: 10.1.0.2"},
        {"svc.ns2.svc.cluster.local.cluster.local", "svc.ns2.svc.cluster.local: 10.1.0.2"},
        {"www.example.com.ns1.svc.cluster.local", "www.example.com: 10.1.0.4"},
        {"www.example.com.ns2.svc.cluster.local",
         "forward"},  // not this client's search domain, and no such service
        {"ns1.svc.cluster.local", "forward"},
        // ServiceEntry hosts and wildcards
        {"www.example.com", "10.1.0.4"},
        {"x.wild.example", "10.1.0.5"},
        {"a.b.wild.example", "10.1.0.5"},
        {"x.wild.example.ns1.svc.cluster.local", "10.1.0.5"},  // a wildcard keeps the queried name
        {"wild.example", "forward"},
        // who is not answered for
        {"no.vip.example", "forward"},
        {"range.example", "forward"},
        {"hidden.example", "forward"},
        {"headless", "10.0.0.1 10.0.0.2"},
        {"h1.headless.ns1.svc.cluster.local", "forward"},
        {"far", "empty"},
    }));
    CAPTURE(row.name);
    CHECK(said(ask(shop(), row.name)) == row.answer);
}

TEST_CASE("AAAA gives the other family, or an empty answer where a family is not to be had [D-10, D-12]") {
    DirectoryPtr known = shop();
    CHECK(said(ask(known, "svc", dns::Type::aaaa)) == "fd00:1::1");
    CHECK(said(ask(known, "headless", dns::Type::aaaa)) == "fd00::1");
    CHECK(said(ask(known, "www.example.com", dns::Type::aaaa)) == "empty");
    CHECK(said(ask(known, "four", dns::Type::aaaa)) == "empty");
    CHECK(said(ask(known, "four")) == "10.1.0.7");
    CHECK(said(ask(known, "svc", dns::Type::aaaa, false)) == "empty");
    CHECK(said(ask(known, "unknown", dns::Type::aaaa, false)) == "forward");
}

TEST_CASE("a hidden service is answered inside its namespace [D-8]") {
    auto there = pod("client", {"10.0.0.99"}, [](Workload& workload) { workload.name_space = "ns2"; });
    CHECK(said(ask(shop(), "hidden.example", dns::Type::a, true, there)) == "10.1.0.6");
}

TEST_CASE("a headless service with ALLOW_ALL names its unhealthy pods too [D-10]") {
    auto all = [](Service& made) { made.balancing.health = HealthPolicy::allow_all; };
    auto sick = pod("a", {"10.0.0.3"}, [](Workload& workload) {
        workload.services[key("s")] = {};
        workload.health = Health::unhealthy;
    });
    CHECK(said(ask(directory({service("s", {}, all), sick}), "s.ns")) == "10.0.0.3");
    CHECK(said(ask(directory({service("s", {}), sick}), "s.ns")) == "empty");
}

TEST_CASE("among namespaces that share a hostname the choice is D-9's [D-9]") {
    auto host = [](std::string name_space, std::string vip, bool canonical = false) {
        return service("s", {vip}, [=](Service& made) {
            made.name_space = name_space;
            made.hostname = "shared.example";
            made.canonical = canonical;
        });
    };
    DirectoryPtr known = directory({host("a", "10.1.0.1"), host("b", "10.1.0.2"), host("c", "10.1.0.3")});
    CHECK(said(ask(known, "shared.example")) == "10.1.0.1");
    CHECK(said(ask(known, "shared.example", dns::Type::a, true, client, "b")) == "10.1.0.2");
    known = directory({host("a", "10.1.0.1"), host("b", "10.1.0.2", true), host("ns1", "10.1.0.3")});
    CHECK(said(ask(known, "shared.example", dns::Type::a, true, client, "a")) == "10.1.0.3");
    auto elsewhere = pod("client", {"10.0.0.99"});
    CHECK(said(ask(known, "shared.example", dns::Type::a, true, elsewhere, "a")) == "10.1.0.2");
}

TEST_CASE("candidates stand in the order in which they are tried [D-5, D-6]") {
    auto names = [](std::string_view name) {
        std::string all;
        for (const auto& one : dns::candidates(name, "n", "d"))
            all += one.name + (one.stripped.empty() ? " " : "< ");
        return all;
    };
    CHECK(names("a") == "a a.n.svc.d ");
    CHECK(names("a.b") == "a.b a.b.svc.d a.b.n.svc.d ");
    CHECK(names("a.b.svc") == "a.b.svc a.b.svc.d a.b.svc.svc.d ");
    CHECK(names("a.b.c") == "a.b.c a.b.c.svc.d ");
    CHECK(names("a.b.c.svc") == "a.b.c.svc a.b.c.svc.d ");
    CHECK(names("a.b.c.x") == "a.b.c.x ");
    CHECK(names("a.b.c.x.y") == "a.b.c.x.y ");
    CHECK(names("a.n.svc.d") ==
          "a.n.svc.d a< a.n.svc.d< a.n< a.n.svc.d< a.n.n.svc.d< a.n.svc< a.n.svc.d< a.n.svc.svc.d< ");
}

TEST_CASE("the order of addresses is shuffled, and a choice of too many is fair [D-10]") {
    std::vector<std::variant<Workload, Service>> all{service("s", {})};
    for (std::uint32_t i = 0; i < 1500; ++i)
        all.emplace_back(pod("p" + std::to_string(i), {}, [&](Workload& workload) {
            workload.addresses = {Ip::v4(0x0a000000 + i)};
            workload.services[key("s")] = {};
        }));
    DirectoryPtr known = directory(std::move(all));
    Buffer bytes = query_bytes("s.ns", 1);
    SeededRandom random(1);
    WorkloadPtr record = make_record(client);
    auto ask_again = [&] {
        return dns::resolve(*known, {}, {*record, true}, dns::parse(bytes).value(), random).addresses;
    };
    std::vector<Ip> one = ask_again();
    std::vector<Ip> two = ask_again();
    CHECK(one.size() == dns::addresses_max);
    CHECK(one != two);
    std::set<Ip> seen(one.begin(), one.end());
    CHECK(seen.size() == one.size());
    seen.insert(two.begin(), two.end());
    CHECK(seen.size() > 1200);
}

TEST_CASE("an answer on the wire: flags, question, records, EDNS [D-2, D-10, D-12]") {
    dns::Query query = dns::parse(query_bytes("S.ns", 1, 1232)).value();
    dns::Answer answer{dns::Answer::What::local, dns::Code::no_error, "", {ip("10.1.0.1")}, nullptr};
    CHECK(dns::encode(query, answer, 512) == message("1234 8580 0001 0001 0000 0001"
                                                     "01 53 02 6e73 00 0001 0001"
                                                     "c00c 0001 0001 0000001e 0004 0a010001"
                                                     "00 0029 1000 00000000 0000"));
    answer.addresses.clear();
    CHECK(dns::encode(query, answer, 512) == message("1234 8580 0001 0000 0000 0001"
                                                     "01 53 02 6e73 00 0001 0001"
                                                     "00 0029 1000 00000000 0000"));
    CHECK(dns::encode_failure(query, dns::Code::server_failure) == message("1234 8182 0001 0000 0000 0001"
                                                                           "01 53 02 6e73 00 0001 0001"
                                                                           "00 0029 1000 00000000 0000"));
}

TEST_CASE("a stripped search domain shows as a CNAME that owns the addresses [D-11]") {
    dns::Query query = dns::parse(query_bytes("s.n.n", 28)).value();
    dns::Answer answer{dns::Answer::What::local, dns::Code::no_error, "s.n", {ip("fd00::1")}, nullptr};
    CHECK(dns::encode(query, answer, 512) ==
          message("1234 8580 0001 0002 0000 0000"
                  "01 73 01 6e 01 6e 00 001c 0001"
                  "c00c 0005 0001 0000001e 0005 01 73 01 6e 00"
                  "c023 001c 0001 0000001e 0010 fd000000000000000000000000000001"));
}

TEST_CASE("over UDP what does not fit is left out and marked, over TCP it is sent [D-2]") {
    dns::Query query = dns::parse(query_bytes("s.ns", 1)).value();
    dns::Answer answer{dns::Answer::What::local, dns::Code::no_error, "", {}, nullptr};
    for (std::uint32_t i = 0; i < 74; ++i) answer.addresses.push_back(Ip::v4(0x0a000000 + i));
    Buffer cut = dns::encode(query, answer, dns::udp_size_max(query));
    CHECK(cut.size() <= 512);
    CHECK(cut.size() > 512 - 16);
    CHECK(std::to_integer<int>(cut[2]) == 0x87);  // QR, AA, TC, RD
    CHECK(get_big_endian(cut.data() + 6, 2) == (cut.size() - 12 - 10) / 16);
    Buffer whole = dns::encode(query, answer, dns::message_max);
    CHECK(std::to_integer<int>(whole[2]) == 0x85);
    CHECK(get_big_endian(whole.data() + 6, 2) == 74);
    CHECK(dns::udp_size_max(dns::parse(query_bytes("s.ns", 1, 100)).value()) == 512);
    CHECK(dns::udp_size_max(dns::parse(query_bytes("s.ns", 1, 1400)).value()) == 1400);
    CHECK(dns::udp_size_max(dns::parse(query_bytes("s.ns", 1, 65535)).value()) == dns::udp_edns_max);
}
