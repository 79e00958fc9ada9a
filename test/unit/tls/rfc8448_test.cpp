// The application traffic of RFC 8448 section 3 ("Simple 1-RTT Handshake"): secrets to keys to records, both
// directions.
#include "test/unit/tls/wire.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::tls;

namespace {

Buffer hex(std::string_view text) {
    Buffer out;
    int high = -1;
    for (char c : text) {
        if (c == ' ' || c == '\n') continue;
        const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
        if (high < 0) {
            high = digit;
        } else {
            out.push_back(std::byte(high << 4 | digit));
            high = -1;
        }
    }
    return out;
}

TrafficKey key(std::string_view secret, std::uint64_t sequence) {
    return {Suite::aes_128_gcm_sha256, Secret(hex(secret)), sequence};
}

Buffer fifty() {
    Buffer out;
    for (int i = 0; i < 50; ++i) out.push_back(std::byte(i));
    return out;
}

constexpr std::string_view client_secret = "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52"
                                           "87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5";
constexpr std::string_view client_data = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe"
                                         "82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f"
                                         "2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b"
                                         "62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6"
                                         "3a ee bb 21 69 49 15 e4";
constexpr std::string_view client_close = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1"
                                          "15 3e fd 6d b6 d0 b0 e3";
constexpr std::string_view server_secret = "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32"
                                           "82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43";
constexpr std::string_view server_data = "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad"
                                         "36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36"
                                         "e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8"
                                         "fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54"
                                         "0d d0 32 e1 67 c2 95 5d";
constexpr std::string_view server_close = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20"
                                          "cf be 7e fa 7a 88 64 a9";

}  // namespace

TEST_CASE("traffic secrets become the keys of RFC 8448", "[records]") {
    const TrafficKey client = key(client_secret, 0), server = key(server_secret, 0);
    REQUIRE(
        std::ranges::equal(client.key().reveal(), hex("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51")));
    REQUIRE(std::ranges::equal(client.iv(), hex("5b 78 92 3d ee 08 57 90 33 e5 23 d9")));
    REQUIRE(
        std::ranges::equal(server.key().reveal(), hex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56")));
    REQUIRE(std::ranges::equal(server.iv(), hex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84")));
}

TEST_CASE("we seal the records of RFC 8448 bit by bit", "[records]") {
    Sealer client(key(client_secret, 0)), server(key(server_secret, 1));  // the server's first is a ticket
    REQUIRE(test::sealed(client, fifty()) == hex(client_data));
    REQUIRE(test::alert(client, Alert::close_notify) == hex(client_close));
    REQUIRE(test::sealed(server, fifty()) == hex(server_data));
    REQUIRE(test::alert(server, Alert::close_notify) == hex(server_close));
}

TEST_CASE("we open the records of RFC 8448", "[records]") {
    Opener from_client(key(client_secret, 0)), from_server(key(server_secret, 1));
    SeededRandom random(1);
    for (auto& [in, data, close] : {std::tuple{&from_client, client_data, client_close},
                                    std::tuple{&from_server, server_data, server_close}}) {
        Buffer wire = hex(data);
        append(wire, hex(close));
        const auto fed = test::feed(*in, wire, random);
        REQUIRE(fed->text == fifty());
        REQUIRE(fed->closed);
    }
}
