#include "lib/base/ip.h"

#include <catch2/catch.hpp>

using namespace culvert;

TEST_CASE("a v4-mapped IPv6 address is the IPv4 address [C-5]", "[ip]") {
    REQUIRE(Ip::parse("::ffff:10.1.2.3") == Ip::parse("10.1.2.3"));
    REQUIRE(Ip::parse("::ffff:10.1.2.3")->is_v4());
    REQUIRE(Ip::parse("::ffff:10.1.2.3")->to_string() == "10.1.2.3");
}

TEST_CASE("an IPv6 address that merely ends in 7f00:1 is no loopback", "[ip]") {
    REQUIRE_FALSE(Ip::parse("2001:db8::7f00:1")->is_loopback());
    REQUIRE(Ip::parse("127.8.9.1")->is_loopback());
    REQUIRE(Ip::parse("::1")->is_loopback());
}

TEST_CASE("an address needs a port, and an IPv6 one its brackets", "[ip]") {
    REQUIRE(Address::parse("[fd00::1]:15008")->to_string() == "[fd00::1]:15008");
    REQUIRE(Address::parse("10.0.0.1:80")->port == 80);
    for (auto bad : {"10.0.0.1", "fd00::1:80", "[10.0.0.1]:80", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:+1",
                     "[fd00::1]", "a:80", ""})
        REQUIRE_FALSE(Address::parse(bad));
}

TEST_CASE("a range contains its own family only, down to single bits", "[ip]") {
    auto range = *Cidr::parse("10.128.0.0/9");
    REQUIRE(range.contains(*Ip::parse("10.255.0.1")));
    REQUIRE_FALSE(range.contains(*Ip::parse("10.127.255.255")));
    REQUIRE_FALSE(Cidr::parse("::/0")->contains(*Ip::parse("10.0.0.1")));
    REQUIRE(Cidr::parse("0.0.0.0/0")->contains(*Ip::parse("10.0.0.1")));
    REQUIRE(Cidr::parse("10.0.0.1")->single());
    for (auto bad : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "fd00::/129", "/8"})
        REQUIRE_FALSE(Cidr::parse(bad));
}
