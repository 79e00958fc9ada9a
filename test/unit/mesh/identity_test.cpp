#include "lib/mesh/identity.h"

#include <catch2/catch.hpp>

using culvert::mesh::Identity;

TEST_CASE("a SPIFFE id of the mesh's form is an identity and prints as it was read [H-11]") {
    auto identity = Identity::parse("spiffe://cluster.local/ns/shop/sa/cart");
    REQUIRE(identity);
    CHECK(*identity == Identity{"cluster.local", "shop", "cart"});
    CHECK(identity->to_string() == "spiffe://cluster.local/ns/shop/sa/cart");
    CHECK(identity->principal() == "cluster.local/ns/shop/sa/cart");
}

TEST_CASE("what does not split into five pieces with ns and sa is no identity [H-11]") {
    auto uri = GENERATE(as<std::string>(), "", "spiffe://", "spiffe://td", "spiffe://td/ns/a/sa",
                        "spiffe://td/ns/a/sa/b/c", "spiffe://td/ns/a/sa/b/", "spiffe://td/sa/a/ns/b",
                        "https://td/ns/a/sa/b", "td/ns/a/sa/b", "SPIFFE://td/ns/a/sa/b",
                        "spiffe://td/NS/a/sa/b", " spiffe://td/ns/a/sa/b");
    CAPTURE(uri);
    CHECK_FALSE(Identity::parse(uri));
}

TEST_CASE("an empty piece or an endless text is no identity [H-11]") {
    CHECK_FALSE(Identity::parse("spiffe:///ns/a/sa/b"));
    CHECK_FALSE(Identity::parse("spiffe://td/ns//sa/b"));
    CHECK_FALSE(Identity::parse("spiffe://td/ns/a/sa/"));
    std::string longest = "spiffe://td/ns/a/sa/" + std::string(Identity::text_max, 'b');
    CHECK_FALSE(Identity::parse(longest));
    CHECK(Identity::parse(longest.substr(0, Identity::text_max)));
}
