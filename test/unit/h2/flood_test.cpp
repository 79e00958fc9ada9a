// Peers that make trouble: what they may do, and where it ends (S19, S20, S21).
#include "lib/base/random.h"
#include "test/support/h2_peer.h"
#include "test/support/h2_wire.h"
#include "test/support/vectors.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using h2::FrameType;
using h2::Role;

namespace {

const Buffer eight(8);
const Buffer one_setting = bytes_of("0003 00000064");

struct Flood {
    int frames = 0;  // before it ended
    std::string error;
    std::size_t output_most = 0;
};

// `read`: the peer takes our answers. Otherwise they pile up.
Flood flood(h2::Engine engine, const Buffer& frame, int times, bool read = true) {
    Flood result;
    for (; result.frames < times && result.error.empty(); ++result.frames) {
        result.error = h2_feed(engine, frame).error;
        result.output_most = std::max(result.output_most, engine.output().size());
        if (read) engine.output_taken();
    }
    return result;
}

Flood flood(std::string_view given, const Buffer& frame, int times = 100'000) {
    Flood result = flood(h2_engine(Role::server, given), frame, times);
    Flood unread = flood(h2_engine(Role::server, given), frame, times, false);
    CHECK(unread.error == result.error);
    CHECK(unread.output_most < h2::output_max + 1000);
    return result;
}

}  // namespace

TEST_CASE("floods of frames that move nothing end in ENHANCE_YOUR_CALM [S19]") {
    struct Row {
        const char* what;
        std::string_view given;
        Buffer frame;
        int most;
    };
    const Row rows[] = {
        {"PING", "ready", h2_frame(FrameType::ping, 0, 0, eight), 501},
        {"answers to no PING", "ready", h2_frame(FrameType::ping, h2::flag_ack, 0, eight), 501},
        {"SETTINGS", "ready", h2_frame(FrameType::settings, 0, 0, one_setting), 201},
        {"acknowledgements", "ready", h2_frame(FrameType::settings, h2::flag_ack, 0), 201},
        {"PRIORITY", "tunnel", h2_frame(FrameType::priority, 0, 1, Buffer(5)), 1001},
        {"unknown frames", "ready", h2_frame(static_cast<FrameType>(0xbb), 0, 77, eight), 1001},
        {"tiny WINDOW_UPDATE", "tunnel", h2_number(FrameType::window_update, 1, 1), 1001},
        {"WINDOW_UPDATE of the connection", "tunnel", h2_number(FrameType::window_update, 0, 1), 1001},
        {"WINDOW_UPDATE of a stream long gone", "closed", h2_number(FrameType::window_update, 1, 1), 1001},
        {"empty DATA", "tunnel", h2_frame(FrameType::data, 0, 1), 1001},
        {"DATA that is all padding", "tunnel",
         h2_frame(FrameType::data, h2::flag_padded, 1, bytes_of("020000")), 1001},
        {"tiny DATA of a stream long gone", "closed", h2_frame(FrameType::data, 0, 1, Buffer(1)), 1001},
        {"RST_STREAM of a stream long gone", "closed", h2_number(FrameType::rst_stream, 1, 8), 1001},
        {"HEADERS of a stream long gone", "closed", h2_frame(FrameType::headers, 4, 1, bytes_of("82")), 1001},
        {"GOAWAY", "ready", h2_frame(FrameType::goaway, 0, 0, eight), 1002},
    };
    for (const Row& row : rows) {
        INFO(row.what);
        Flood result = flood(row.given, row.frame);
        CHECK(result.error == "ENHANCE_YOUR_CALM");
        CHECK(result.frames <= row.most);
        CHECK(result.frames >= row.most - 1);
    }
}

TEST_CASE("300 PINGs in a burst are fine, and 90 a second for ever [S19]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    Buffer ping = h2_frame(FrameType::ping, 0, 0, eight);
    for (int i = 0; i < 300; ++i) REQUIRE(h2_feed(engine, ping).error.empty());
    engine.output_taken();
    for (int second = 0; second < 1000; ++second) {
        for (int i = 0; i < 90; ++i) REQUIRE(h2_feed(engine, ping).error.empty());
        engine.output_taken();
        engine.tick();
    }
}

TEST_CASE("answers that the peer does not read are bounded, however slowly they come [S19]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    Buffer ping = h2_frame(FrameType::ping, 0, 0, eight);
    std::string error;
    for (int i = 0; i < 100'000 && error.empty(); ++i) {
        error = h2_feed(engine, ping).error;
        engine.tick();
    }
    CHECK(error == "ENHANCE_YOUR_CALM");
    CHECK(engine.output().size() < h2::output_max + 100);
}

TEST_CASE("rapid reset ends the connection after a hundred [S19] [S20]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    std::string error;
    int resets = 0;
    for (h2::StreamId id = 1; error.empty() && id < 20'000; id += 2, ++resets) {
        h2_feed(engine, h2_connect(id));
        error = h2_feed(engine, h2_number(FrameType::rst_stream, id, 8)).error;
    }
    CHECK(error == "ENHANCE_YOUR_CALM");
    CHECK(resets <= 101);
}

TEST_CASE("tunnels that were served may be reset as often as the peer likes") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    for (h2::StreamId id = 1; id < 20'000; id += 2) {
        h2_feed(engine, h2_connect(id));
        engine.respond(id, {});
        REQUIRE(h2_feed(engine, h2_number(FrameType::rst_stream, id, 8)).error.empty());
        engine.output_taken();
    }
}

TEST_CASE("refused CONNECTs cost: 200 in a burst, then 40 a second [S21]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    std::string error;
    int refused = 0;
    for (h2::StreamId id = 1; id < 20'000; id += 2) {
        error = h2_feed(engine, h2_connect(id)).error;
        if (!error.empty()) break;
        engine.respond(id, {.status = 401});
        engine.output_taken();
        ++refused;
    }
    CHECK(error == "ENHANCE_YOUR_CALM");
    CHECK(refused == 201);

    h2::Engine patient = h2_engine(Role::server, "ready");
    h2::StreamId id = 1;
    for (int second = 0; second < 100; ++second, patient.tick()) {
        for (int i = 0; i < 40; ++i, id += 2) {
            REQUIRE(h2_feed(patient, h2_connect(id)).error.empty());
            patient.respond(id, {.status = 401});
            patient.output_taken();
        }
    }
}

TEST_CASE("malformed requests cost what a refusal costs [S20] [S21]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    std::string error;
    int refused = 0;
    for (h2::StreamId id = 1; error.empty() && id < 20'000; id += 2, ++refused) {
        error = h2_feed(engine, h2_frame(FrameType::headers, h2::flag_end_headers, id, bytes_of("82"))).error;
        engine.output_taken();
    }
    CHECK(error == "ENHANCE_YOUR_CALM");
    CHECK(refused == 201);
}

TEST_CASE("a header block ends: 16 CONTINUATIONs and 64 KB, and never holds more [S19]") {
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16'384}}) {
        h2::Engine engine = h2_engine(Role::server, "ready");
        CHECK(h2_feed(engine, h2_frame(FrameType::headers, 0, 1, bytes_of("0207"))).error.empty());
        std::size_t continuations = 0;
        std::string error;
        while (error.empty() && continuations < 1000) {
            ++continuations;
            error = h2_feed(engine, h2_frame(FrameType::continuation, 0, 1, Buffer(size))).error;
        }
        CHECK(error == "ENHANCE_YOUR_CALM");
        CHECK(continuations <= 17);
        CHECK(continuations * size <= h2::header_block_max + size);
    }
    h2::Engine engine = h2_engine(Role::server, "ready");
    Buffer head =
        bytes_of("010001 01 04 00000001");  // 65,537 bytes announced: refused before one of them comes
    CHECK(h2_feed(engine, head).error == "ENHANCE_YOUR_CALM");
}

TEST_CASE("a header block that unfolds to megabytes is counted, not kept [S19]") {
    h2::Engine engine = h2_engine(Role::server, "unacked");
    // One entry of 4,000 bytes in the table, then 60,000 references to it: 240 MB of headers in 64 KB.
    Buffer block = bytes_of("4001 \"x\" 7fa11e 4000x61");
    block.insert(block.end(), 60'000, std::byte{0xbe});
    Buffer frame = h2_frame(FrameType::headers, h2::flag_end_headers, 1, block);
    CHECK(h2_feed(engine, frame).events == std::vector<std::string>{"refused 1 ENHANCE_YOUR_CALM"});
}

TEST_CASE("credit that our DATA explains is free") {
    H2Peer client(Role::client), server(Role::server);
    h2_settle(client, server);
    h2::StreamId id = client.connect();
    h2_settle(client, server);
    // The server's app reads in pieces of 1 KB, and its end announces each of them, for the stream and the
    // connection.
    server.reads = false;
    for (int i = 0; i < 3000; ++i) {
        REQUIRE(client.send(id, 16'000) == 16'000);
        h2_settle(client, server);
        server.read(id, 16'000);
        h2_settle(client, server);
        for (int piece = 0; piece < 16 && i % 2 == 0; ++piece) {
            client.take(h2_number(FrameType::window_update, id, 1));
        }
        REQUIRE(client.error.empty());
    }
}

TEST_CASE("noise never crashes and never leaves the limits [S20]") {
    SeededRandom random(1);
    for (int round = 0; round < 3000; ++round) {
        h2::Engine engine =
            h2_engine(round % 2 ? Role::server : Role::client, round % 3 ? "tunnel" : "ready");
        Buffer noise;
        for (int i = 0; i < 4; ++i) {
            Buffer payload(random.below(40));
            for (auto& each : payload) each = static_cast<std::byte>(random.next());
            auto type = static_cast<FrameType>(random.below(11));
            append(noise, h2_frame(type, static_cast<std::uint8_t>(random.next()),
                                   static_cast<h2::StreamId>(random.below(4)), payload));
        }
        h2_feed(engine, noise);
        CHECK(engine.streams() <= 200);
    }
}
