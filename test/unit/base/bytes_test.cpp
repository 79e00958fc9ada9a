#include "lib/base/bytes.h"
#include "lib/base/result.h"

#include <catch2/catch.hpp>

using namespace culvert;

TEST_CASE("a decoder never reads outside what it was given", "[bytes]") {
    Buffer out;
    Encoder to(out);
    to.number(std::uint16_t{7});
    to.text("hello");
    for (std::size_t cut = 0; cut < out.size(); ++cut) {
        Decoder from(ConstBytes(out).first(cut));
        (void)from.number<std::uint16_t>();
        (void)from.text();
        REQUIRE_FALSE(from.ok());
    }
    Decoder from(out);
    REQUIRE(from.number<std::uint16_t>() == 7);
    REQUIRE(from.text() == "hello");
    REQUIRE((from.ok() && from.at_end()));
}

TEST_CASE("every reason has a word of its own and a response flag", "[reason]") {
    for (int i = 0; i < static_cast<int>(Reason::last_); ++i)
        for (int j = 0; j < i; ++j) REQUIRE(word(static_cast<Reason>(i)) != word(static_cast<Reason>(j)));
    REQUIRE(response_flag(Reason::policy_denied) == "DENY");
    REQUIRE(response_flag(Reason::none) == "-");
}
