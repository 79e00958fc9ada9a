#include "lib/mesh/headers.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

TEST_CASE("an authority is a socket address, else a host with a port [H-21, I-1]") {
    CHECK(std::get<Address>(parse_authority("10.0.0.1:80").value()) == at("10.0.0.1:80"));
    CHECK(std::get<Address>(parse_authority("[fd00::1]:80").value()) == at("[fd00::1]:80"));
    CHECK(std::get<Address>(parse_authority("[::ffff:10.0.0.1]:80").value()) == at("10.0.0.1:80"));
    CHECK(std::get<HostPort>(parse_authority("A.Example_1.com:443").value()) ==
          HostPort{"a.example_1.com", 443});
    for (std::string_view text : {"10.0.0.1:80", "[fd00::1]:80", "a.example:443"})
        CHECK(to_string(parse_authority(text).value()) == text);
}

TEST_CASE("an authority without host, port or sense is a bad request [I-1]") {
    auto text =
        GENERATE(as<std::string>(), "", ":", ":80", "host", "host:", "host:0", "host:65536", "host:-1",
                 "host:+1", "host:80x", "ho st:80", "10.0.0.1", "fd00::1:80:x", "[fd00::1]", "[fd00::1]:0",
                 "0.0.0.0:80", "[::]:80", "user@host:80", "host/path:80", "h\r\nx:80");
    CAPTURE(text);
    CHECK(parse_authority(text).error().reason == Reason::bad_request);
    CHECK_FALSE(parse_authority(std::string(254, 'a') + ":80"));
}

TEST_CASE("forwarded names the client, and the service that the application addressed [H-22]") {
    CHECK(forwarded_header(at("10.0.0.1:80"), "") == "for=\"10.0.0.1:80\"");
    CHECK(forwarded_header(at("[::1]:80"), "s.example") == "for=\"[::1]:80\";host=s.example");
}

TEST_CASE("the host of forwarded: the first that says so, without its quotes [H-23]") {
    struct Row {
        std::string_view header;
        std::string_view host;
    };
    auto row = GENERATE(values<Row>({{"for=\"10.0.0.1:80\";host=s.example", "s.example"},
                                     {"host=a", "a"},
                                     {"for=x; host=\"a\" ;host=b", "a"},
                                     {"host=", ""},
                                     {"host=\"\"", ""},
                                     {"host=\"a", "a"},
                                     {"Host=a", ""},
                                     {"for=x", ""},
                                     {"", ""},
                                     {";;;", ""},
                                     {"xhost=a", ""},
                                     {"host=\xc3\xa4", ""}}));
    CAPTURE(row.header);
    CHECK(forwarded_host(row.header) == row.host);
}

TEST_CASE("baggage lists what is known of a workload in one order [H-24]") {
    Workload full = pod("a", {"10.0.0.1"}, [](Workload& workload) {
        workload.cluster_id = "c";
        workload.workload_name = "w";
        workload.type = WorkloadType::cronjob;
        workload.canonical_name = "app";
        workload.canonical_revision = "v1";
        workload.locality = {"r", "z", "s"};
    });
    CHECK(to_string(baggage_of(*make_record(full))) ==
          "k8s.cluster.name=c,k8s.namespace.name=ns,k8s.cronjob.name=w,service.name=app,service.version=v1,"
          "cloud.region=r,cloud.availability_zone=z");
    CHECK(to_string(Baggage{}).empty());
    CHECK(to_string(Baggage{.cluster = "c", .zone = "z"}) == "k8s.cluster.name=c,cloud.availability_zone=z");
}

TEST_CASE("a value that would break the header is left out [H-24]") {
    CHECK(to_string(Baggage{.cluster = "a,k8s.namespace.name=root", .name_space = "n\r\nx", .region = "r"}) ==
          "cloud.region=r");
}

TEST_CASE("every baggage that is written reads back the same [H-24]") {
    auto type =
        GENERATE(WorkloadType::deployment, WorkloadType::cronjob, WorkloadType::pod, WorkloadType::job);
    Baggage all{"c", "n", "w", type, "s", "v", "r", "z"};
    std::string text = to_string(all);
    std::string_view header = text;
    CHECK(parse_baggage({&header, 1}) == all);
}

TEST_CASE("baggage headers may repeat; unknown and empty entries say nothing [H-24]") {
    std::vector<std::string_view> headers{"k8s.cluster.name=c,unknown=x,nonsense,=,,service.name=",
                                          "k8s.namespace.name=n=1,k8s.deployment.name=d"};
    Baggage expected{.cluster = "c", .name_space = "n=1", .workload_name = "d"};
    CHECK(parse_baggage(headers) == expected);
    CHECK(parse_baggage({}) == Baggage{});
}

TEST_CASE("one baggage header that is not visible ASCII discards all of it [H-24]") {
    std::vector<std::string_view> headers{"k8s.cluster.name=c", "k8s.namespace.name=\xff"};
    CHECK(parse_baggage(headers) == Baggage{});
    headers[1] = "k8s.namespace.name=a\nb";
    CHECK(parse_baggage(headers) == Baggage{});
}

TEST_CASE("a fresh traceparent is random and reads back the same [H-22]") {
    SeededRandom random(5);
    TraceParent one = TraceParent::fresh(random);
    TraceParent two = TraceParent::fresh(random);
    CHECK(one != two);
    CHECK(one.to_string().size() == 55);
    CHECK(one.to_string().starts_with("00-"));
    CHECK(one.to_string().ends_with("-00"));
    CHECK(TraceParent::parse(one.to_string()) == one);
}

TEST_CASE("a traceparent that is anything but the W3C's form is absent [H-23]") {
    std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    REQUIRE(TraceParent::parse(good));
    CHECK(TraceParent::parse(good)->to_string() == good);
    auto with = [&](std::size_t at, char c) {
        std::string bad = good;
        bad[at] = c;
        return bad;
    };
    CHECK_FALSE(TraceParent::parse(good + "0"));
    CHECK_FALSE(TraceParent::parse(good.substr(1)));
    CHECK_FALSE(TraceParent::parse(
        "00-" + std::string(52, '0')));  // what makes the reference index out of range (W-11)
    for (std::size_t at : {2U, 35U, 52U}) CHECK_FALSE(TraceParent::parse(with(at, '0')));
    for (std::size_t at : {3U, 20U, 40U, 54U}) {
        CHECK_FALSE(TraceParent::parse(with(at, 'g')));
        CHECK_FALSE(TraceParent::parse(with(at, 'A')));
        CHECK_FALSE(TraceParent::parse(with(at, '-')));
        CHECK_FALSE(TraceParent::parse(with(at, '+')));
    }
    CHECK_FALSE(TraceParent::parse("01" + good.substr(2)));
    CHECK_FALSE(TraceParent::parse("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
    CHECK_FALSE(TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"));
    CHECK_FALSE(TraceParent::parse(""));
}
