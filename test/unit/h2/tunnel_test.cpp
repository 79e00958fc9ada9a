// What the engine does for its caller: commands, and what two honest ends see of each other.
#include "lib/h2/tunnel.h"
#include "test/support/h2_peer.h"
#include "test/support/h2_wire.h"
#include "test/support/vectors.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::test;
using h2::Code;
using h2::FrameType;
using h2::Role;

namespace {

struct Frame {
    h2::FrameHeader header;
    Buffer payload;
};

std::vector<Frame> frames_of(ConstBytes bytes) {
    std::vector<Frame> frames;
    while (bytes.size() >= h2::frame_header_size) {
        h2::FrameHeaderBytes head;
        std::ranges::copy(bytes.first(head.size()), head.begin());
        h2::FrameHeader header = h2::parse_frame_header(head);
        bytes = bytes.subspan(head.size());
        REQUIRE(bytes.size() >= header.size);
        frames.push_back({header, Buffer(bytes.begin(), bytes.begin() + header.size)});
        bytes = bytes.subspan(header.size);
    }
    REQUIRE(bytes.empty());
    return frames;
}

std::vector<std::string> fields_of(ConstBytes block) {
    h2::HeaderDecoder decoder;
    h2::FieldReader reader(decoder, block);
    std::vector<std::string> fields;
    while (reader.next() == h2::FieldReader::Step::field) {
        fields.push_back(std::string(reader.field().name) + ": " + std::string(reader.field().value));
    }
    return fields;
}

// A client and a server that have exchanged SETTINGS, and a tunnel on stream 1.
struct Link {
    H2Peer client{Role::client};
    H2Peer server{Role::server};
    Link() {
        h2_settle(client, server);
        REQUIRE(client.connect() == 1);
        h2_settle(client, server);
        REQUIRE(client.tunnels[1].opened);
        client.log.clear();
        server.log.clear();
    }
    void settle() { h2_settle(client, server); }
};

}  // namespace

TEST_CASE(
    "a CONNECT is one header block: method, authority, then the metadata, no end [H-20] [H-21] [H-22]") {
    h2::Engine engine = h2_engine(Role::client, "ready");
    h2::ConnectRequest request{.authority = "[2001:db8::1]:80",
                               .baggage = "k8s.cluster.name=c",
                               .forwarded = "for=\"10.0.0.1:5\"",
                               .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
    CHECK(engine.connect(request) == 1);
    auto frames = frames_of(engine.output());
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].header.type == FrameType::headers);
    CHECK(frames[0].header.flags == h2::flag_end_headers);
    CHECK(fields_of(frames[0].payload) ==
          std::vector<std::string>{":method: CONNECT", ":authority: [2001:db8::1]:80",
                                   "baggage: k8s.cluster.name=c", "forwarded: for=\"10.0.0.1:5\"",
                                   "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"});
    // The inner CONNECT of a double tunnel says its network as well.
    CHECK(engine.connect({.authority = "b.ns:80", .x_forwarded_network = "net1"}) == 3);
    CHECK(fields_of(frames_of(engine.output())[1].payload).back() == "x-forwarded-network: net1");
}

TEST_CASE("the server gets the metadata as it was sent; baggage may be repeated [H-23] [H-24]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    std::vector<h2::Field> fields = {{":method", "CONNECT"}, {":authority", "a:80"},     {"baggage", "a=b"},
                                     {"forwarded", "for=x"}, {"baggage", "c=d"},         {"x-other", "y"},
                                     {"forwarded", "for=y"}, {"traceparent", "00-1-2-3"}};
    Buffer block;
    h2::encode_fields(fields, block);
    Buffer bytes = h2_frame(FrameType::headers, h2::flag_end_headers, 1, block);
    ConstBytes input = bytes;
    auto event = engine.next(input);
    REQUIRE(event.has_value());
    REQUIRE(event->has_value());
    CHECK((*event)->request ==
          h2::ConnectRequest{
              .authority = "a:80", .baggage = "a=b,c=d", .forwarded = "for=x", .traceparent = "00-1-2-3"});
}

TEST_CASE("a client counts a link usable only after the server's SETTINGS [S16]") {
    h2::Engine engine(Role::client, h2::client_settings());
    CHECK_FALSE(engine.peer_ready());
    CHECK_FALSE(engine.can_connect());
    CHECK(engine.connect({.authority = "a:80"}).error().reason == Reason::not_synced);
    CHECK(h2_feed(engine, h2_frame(FrameType::settings, 0, 0)).events ==
          std::vector<std::string>{"settings"});
    CHECK(engine.peer_ready());
    CHECK(engine.connect({.authority = "a:80"}) == 1);
}

TEST_CASE("a value that could split a header never leaves, and no list larger than the peer takes") {
    h2::Engine engine = h2_engine(Role::client, "ready");
    const std::vector<std::string> bads = {"a\r\nb", "a\nb", std::string("a\0b", 3), " a", "a\t"};
    for (const std::string& bad : bads) {
        CHECK(engine.connect({.authority = "a:80", .baggage = bad}).error().reason == Reason::bad_input);
        CHECK(engine.connect({.authority = bad}).error().reason == Reason::bad_input);
    }
    CHECK(engine.connect({.authority = ""}).error().reason == Reason::bad_input);
    CHECK(engine.connect({.method = "GET", .authority = "a:80"}).error().reason == Reason::bad_input);
    h2_feed(engine, bytes_of("000006 04 00 00000000 0006 00000400"));  // MAX_HEADER_LIST_SIZE 1,024
    CHECK(engine.connect({.authority = "a:80", .baggage = std::string(1000, 'x')}).error().reason ==
          Reason::limit);
    CHECK(engine.streams() == 0);
    CHECK(engine.connect({.authority = "a:80", .baggage = std::string(800, 'x')}) == 1);
}

TEST_CASE("header lists above 16 KB travel in CONTINUATION frames") {
    Link link;
    h2::ConnectRequest request{.authority = "a:80", .baggage = std::string(40'000, '~')};
    CHECK(link.client.engine.connect(request) == 3);
    link.client.flush();
    CHECK(frames_of(link.client.wire)[1].header.type == FrameType::continuation);
    link.settle();
    CHECK(link.server.log == std::vector<std::string>{"request 3 CONNECT a:80"});
}

TEST_CASE("a header list above what we said refuses that request alone") {
    Link link;
    h2::ConnectRequest request{.authority = "a:80", .baggage = std::string(70'000, 'x')};
    auto block = h2::encode(request, 1 << 20);
    REQUIRE(block.has_value());
    Buffer first = h2_frame(FrameType::headers, 0, 3, ConstBytes(*block).first(16384));
    Buffer second =
        h2_frame(FrameType::continuation, h2::flag_end_headers, 3, ConstBytes(*block).subspan(16384));
    link.server.take(first);
    link.server.take(second);
    CHECK(link.server.log == std::vector<std::string>{"refused 3 ENHANCE_YOUR_CALM"});
    CHECK(link.server.error.empty());
}

TEST_CASE("baggage is on a 200 only, and never costs the tunnel [H-25]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    for (h2::StreamId id : {1u, 3u, 5u}) h2_feed(engine, h2_connect(id));
    engine.output_taken();
    engine.respond(1, {.status = 200, .baggage = "a=b"});
    engine.respond(3, {.status = 401, .baggage = "a=b"});
    engine.respond(5, {.status = 200, .baggage = "a\nb"});
    std::vector<std::vector<std::string>> answers;
    for (const Frame& frame : frames_of(engine.output())) {
        if (frame.header.type == FrameType::headers) answers.push_back(fields_of(frame.payload));
    }
    CHECK(answers == std::vector<std::vector<std::string>>{
                         {":status: 200", "baggage: a=b"}, {":status: 401"}, {":status: 200"}});
}

TEST_CASE("a refused CONNECT: its status, END_STREAM, and no stream is left at either end [H-26]") {
    H2Peer client(Role::client), server(Role::server);
    h2_settle(client, server);
    server.accepts = false;
    for (int status : {400, 401, 503}) {
        h2::StreamId id = client.connect();
        h2_settle(client, server);
        server.engine.respond(id, {.status = status});
        h2_settle(client, server);
        CHECK(client.log.back() == "response " + std::to_string(id) + " " + std::to_string(status) + " end");
        CHECK(client.engine.streams() == 0);
        CHECK(server.engine.streams() == 0);
    }
    CHECK(client.error.empty());
    CHECK(server.error.empty());
}

TEST_CASE("nothing is sent before the 200, and nothing after our end") {
    H2Peer client(Role::client), server(Role::server);
    h2_settle(client, server);
    server.accepts = false;
    h2::StreamId id = client.connect();
    h2_settle(client, server);
    CHECK(client.engine.send_allowance(id) == 0);
    CHECK_FALSE(client.engine.frame_data(id, 0, true).has_value());
    CHECK_FALSE(server.engine.frame_data(id, 0, true).has_value());
    server.engine.respond(id, {});
    h2_settle(client, server);
    CHECK(client.engine.send_allowance(id) == h2::server_settings().window_open);
    CHECK(client.engine.frame_data(id, 0, true).has_value());
    CHECK(client.engine.send_allowance(id) == 0);
    CHECK_FALSE(client.engine.frame_data(id, 0, true).has_value());
}

TEST_CASE("one DATA frame fills one TLS record") {
    CHECK(h2::data_max + h2::frame_header_size == 16'384);
    Link link;
    link.client.send(1, h2::data_max + 1);
    auto frames = frames_of(link.client.wire);
    REQUIRE(frames.size() == 2);
    CHECK(frames[0].header ==
          h2::FrameHeader{.size = 16'375, .type = FrameType::data, .flags = 0, .stream = 1});
    CHECK(frames[1].header.size == 1);
}

TEST_CASE("each direction ends by itself: an empty DATA frame with END_STREAM [H-29]") {
    Link link;
    link.client.send(1, 0, true);
    CHECK(hex_of(link.client.wire) == "000000000100000001");
    link.settle();
    CHECK(link.server.tunnels[1].ended);
    link.server.send(1, 100'000);
    link.settle();
    CHECK(link.client.tunnels[1].received == 100'000);
    link.server.send(1, 1, true);
    link.settle();
    CHECK(link.client.tunnels[1].ended);
    CHECK(link.client.engine.streams() == 0);
    CHECK(link.server.engine.streams() == 0);
    CHECK(link.client.intact);
}

TEST_CASE("an app's abort arrives as an abort, and only END_STREAM as an end [S17] [H-31] [H-32]") {
    Link link;
    link.client.send(1, 1000);
    link.client.reset(1, Code::connect_error);
    CHECK(hex_of(ConstBytes(link.client.wire).last(13)) == "00000403000000000100"
                                                           "00000a");
    link.settle();
    CHECK(link.server.log == std::vector<std::string>{"reset 1 CONNECT_ERROR"});
    CHECK(link.server.tunnels[1].received == 1000);
    CHECK_FALSE(link.server.tunnels[1].ended);
    CHECK(link.server.engine.streams() == 0);
}

TEST_CASE("a reset that crosses the last byte of both directions cuts nothing") {
    Link link;
    link.server.reads = false;
    link.client.send(1, 10, true);
    link.server.send(1, 0, true);
    link.settle();
    CHECK(link.server.engine.streams() == 1);  // ten bytes are on their way to the app
    link.server.take(h2_number(FrameType::rst_stream, 1, 8));
    CHECK_FALSE(link.server.tunnels[1].reset);
    link.server.read(1, 10);
    CHECK(link.server.engine.streams() == 0);
}

TEST_CASE("PING is the caller's keepalive: its answer is told, whatever DATA flows [H-19]") {
    Link link;
    link.client.engine.ping(0x0102030405060708);
    link.client.send(1, 1000);
    link.settle();
    CHECK(link.client.log == std::vector<std::string>{"pong " + std::to_string(0x0102030405060708)});
    link.server.engine.ping(7);
    link.settle();
    CHECK(link.server.log == std::vector<std::string>{"pong 7"});
    // The answer to a PING that was never sent says nothing.
    link.client.take(h2_frame(FrameType::ping, h2::flag_ack, 0, Buffer(8)));
    CHECK(link.client.log.size() == 1);
}

TEST_CASE("a keepalive that is not answered ends a link with GOAWAY(NO_ERROR) [H-19]") {
    h2::Engine engine = h2_engine(Role::server, "tunnel");
    engine.goaway(Code::no_error);
    CHECK(hex_of(engine.output()) == "0000080700000000000000000100000000");
}

TEST_CASE("a drain serves what is under way, then refuses, then is done [H-36]") {
    Link link;
    CHECK(link.client.connect() == 3);  // crosses the first GOAWAY
    link.server.engine.drain();
    CHECK(link.server.engine.going_away());
    link.settle();
    CHECK(link.client.tunnels[3].opened);
    CHECK(link.client.log ==
          std::vector<std::string>{"goaway NO_ERROR 2147483647", "response 3 200", "goaway NO_ERROR 3"});
    CHECK_FALSE(link.server.engine.drained());
    for (h2::StreamId id : {1u, 3u}) {
        CHECK(link.client.send(id, 1000, true) == 1000);
        CHECK(link.server.send(id, 1000, true) == 1000);
    }
    link.settle();
    CHECK(link.client.intact);
    CHECK(link.server.tunnels[3].ended);
    CHECK(link.server.engine.drained());
}

TEST_CASE("a client opens nothing on a link that goes away, and keeps its tunnels [H-37]") {
    Link link;
    link.server.engine.goaway(Code::no_error);
    link.settle();
    CHECK(link.client.engine.connect({.authority = "a:80"}).error().reason == Reason::h2_going_away);
    CHECK_FALSE(link.client.engine.can_connect());
    CHECK(link.client.send(1, 1000) == 1000);
    link.settle();
    CHECK(link.server.tunnels[1].received == 1000);
}

TEST_CASE("the streams that a GOAWAY does not serve may be tried on another link [H-37]") {
    Link link;
    link.server.accepts = false;
    CHECK(link.client.connect() == 3);
    link.server.engine.goaway(Code::no_error);  // it has not seen stream 3 yet
    link.settle();
    CHECK(link.client.tunnels[3].retry);
    CHECK_FALSE(link.client.tunnels[1].reset);
    CHECK(link.client.engine.streams() == 1);
}

TEST_CASE("a client opens as many tunnels as both ends allow [H-39]") {
    h2::Engine engine = h2_engine(Role::client, "ready");
    for (int i = 0; i < 100; ++i) CHECK(engine.connect({.authority = "a:80"}).has_value());
    CHECK(engine.connect({.authority = "a:80"}).error().reason == Reason::limit);
    engine.reset(1, Code::cancel);
    CHECK(engine.connect({.authority = "a:80"}).has_value());

    h2::Engine fewer = h2_engine(Role::client, "ready");
    h2_feed(fewer, bytes_of("000006 04 00 00000000 0003 00000002"));
    CHECK(fewer.connect({.authority = "a:80"}).has_value());
    CHECK(fewer.connect({.authority = "a:80"}).has_value());
    CHECK(fewer.connect({.authority = "a:80"}).error().reason == Reason::limit);
}

TEST_CASE("a server serves 200 tunnels and refuses the next so that it may be tried elsewhere [H-18]") {
    h2::Engine engine = h2_engine(Role::server, "ready");
    for (h2::StreamId id = 1; id < 400; id += 2) h2_feed(engine, h2_connect(id));
    CHECK(engine.streams() == 200);
    CHECK(h2_feed(engine, h2_connect(401)).events == std::vector<std::string>{"refused 401 REFUSED_STREAM"});
    engine.respond(1, {.status = 503});
    CHECK(h2_feed(engine, h2_connect(403)).events == std::vector<std::string>{"request 403 CONNECT a:80"});
}

TEST_CASE("commands for streams that are gone do nothing") {
    Link link;
    link.server.reset(1, Code::connect_error);
    link.server.wire.clear();
    link.server.engine.respond(1, {});
    link.server.engine.reset(1, Code::cancel);
    link.server.engine.consumed(1, 1000);
    CHECK_FALSE(link.server.engine.frame_data(1, 0, true).has_value());
    CHECK(link.server.engine.send_allowance(1) == 0);
    CHECK(link.server.engine.output().empty());
}

TEST_CASE("a failed connection stays failed and sends nothing but its GOAWAY") {
    Link link;
    link.server.take(h2_frame(FrameType::push_promise, 0, 1));
    CHECK(link.server.error == "PROTOCOL_ERROR");
    CHECK(hex_of(link.server.wire) == "0000080700000000000000000100000001");
    link.server.wire.clear();
    h2::Engine& engine = link.server.engine;
    Buffer ping = h2_frame(FrameType::ping, 0, 0, Buffer(8));
    ConstBytes input = ping;
    auto again = engine.next(input);
    REQUIRE_FALSE(again.has_value());
    CHECK(again.error() == Error{Reason::h2_protocol, 1, {}});
    CHECK(engine.failed());
    engine.reset(1, Code::cancel);
    engine.ping(1);
    engine.drain();
    engine.goaway(Code::no_error);
    CHECK(engine.send_allowance(1) == 0);
    CHECK(engine.output().empty());
}
