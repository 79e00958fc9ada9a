// The coder against RFC 7541's own examples, and our use of it: no state, and a table that can be written
// down.
#include "lib/h2/hpack.h"
#include "lib/h2/message.h"
#include "test/support/vectors.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::h2;

namespace {

struct Decoded {
    std::vector<std::string> fields;
    bool broken = false;
};

void decode(HeaderDecoder& decoder, ConstBytes block, Decoded& to) {
    FieldReader reader(decoder, block);
    for (;;) {
        auto step = reader.next();
        if (step == FieldReader::Step::field) {
            to.fields.push_back(std::string(reader.field().name) + " = " + std::string(reader.field().value));
            continue;
        }
        to.broken = step == FieldReader::Step::broken;
        return;
    }
}

HeaderDecoder reborn(const HeaderDecoder& decoder) {
    Buffer state;
    Encoder to(state);
    decoder.save(to);
    Decoder from{ConstBytes(state)};
    HeaderDecoder copy;
    REQUIRE(copy.load(from));
    return copy;
}

}  // namespace

TEST_CASE("header blocks say what RFC 7541 appendix C says, also after hand-over between two blocks") {
    for (const auto& vector : test::read_vectors("test/vectors/h2/hpack.txt")) {
        for (bool handed_over : {false, true}) {
            INFO(vector.name << (handed_over ? ", handed over" : ""));
            HeaderDecoder decoder;
            Decoded decoded;
            for (auto block : vector.values("block")) {
                decode(decoder, test::bytes_of(block), decoded);
                if (handed_over && !decoded.broken) decoder = reborn(decoder);
            }
            CHECK(decoded.broken == vector.has("broken"));
            std::vector<std::string> expected;
            for (auto field : vector.values("field")) expected.emplace_back(field);
            if (!decoded.broken) CHECK(decoded.fields == expected);
        }
    }
}

TEST_CASE("what we encode decodes without a table and starts with table size 0") {
    std::string long_value(5000, 'x');
    std::vector<Field> fields = {
        {":method", "CONNECT"}, {":authority", "[2001:db8::1]:80"}, {"baggage", long_value}};
    for (int round = 0; round < 3;
         ++round) {  // the coder is shared: nothing of one block may show in the next
        Buffer block;
        encode_fields(fields, block);
        CHECK(block[0] == std::byte{0x20});
        HeaderDecoder decoder;
        decoder.table_closed();
        Decoded decoded;
        decode(decoder, block, decoded);
        CHECK_FALSE(decoded.broken);
        REQUIRE(decoded.fields.size() == 3);
        CHECK(decoded.fields[1] == ":authority = [2001:db8::1]:80");
        CHECK(decoded.fields[2] == "baggage = " + long_value);
    }
}

TEST_CASE("a block that does not decode spoils nobody else's decoder") {
    HeaderDecoder one, two;
    one.table_closed();
    two.table_closed();
    Decoded bad, good;
    decode(one, test::bytes_of("ffffffffffff"), bad);
    CHECK(bad.broken);
    decode(two, test::bytes_of("82"), good);
    CHECK_FALSE(good.broken);
    CHECK(good.fields == std::vector<std::string>{":method = GET"});
}

TEST_CASE("a table that no decoder can have had is not loaded") {
    Buffer state;
    Encoder to(state);
    to.number(std::uint8_t{0});
    to.number(std::uint32_t{129});
    Decoder from{ConstBytes(state)};
    HeaderDecoder decoder;
    CHECK_FALSE(decoder.load(from));
}
