// UDP for DNS: both families from one socket, the asked address kept, refusals seen.
#include "lib/io/datagram.h"
#include "test/unit/io/real.h"

using namespace culvert;
using namespace culvert::io;
using namespace culvert::test;

namespace {

struct Got {
    std::string text;
    Address from;
    Ip local;
    bool truncated;
};

Task<Result<Got>> receive(Datagram& from, std::size_t most) {
    Buffer buffer(most);
    for (;;) {
        auto packet = from.try_receive(buffer);
        if (packet)
            co_return Got{std::string(as_text(packet->bytes)), packet->from, packet->local,
                          packet->truncated};
        if (packet.error().detail != EAGAIN) co_return refuse(std::move(packet));
        CO_TRY_DONE(co_await from.readable());
    }
}

Datagram open(Loop& loop, std::string_view ip) {
    auto made = Datagram::open(loop, own_namespace, {*Ip::parse(ip), 0}, {});
    if (!made) FAIL(made.error().to_string());
    return std::move(*made);
}

Datagram dial(Loop& loop, Address to) {
    auto made = Datagram::dial(loop, own_namespace, to);
    if (!made) FAIL(made.error().to_string());
    return std::move(*made);
}

}  // namespace

TEST_CASE("a dual-stack socket answers each query from the address that was asked", "[io]") {
    Loop loop(ring());
    Datagram server = open(loop, "::");
    std::uint16_t port = server.local()->port;
    for (const char* ip : {"127.0.0.1", "127.9.8.7", "::1"}) {
        INFO(ip);
        Address asked{*Ip::parse(ip), port};
        Datagram client = dial(loop, asked);
        REQUIRE(client.try_send(as_bytes("query")));
        auto query = run(loop, receive(server, 100));
        REQUIRE(query);
        CHECK(query->text == "query");
        CHECK(query->from == *client.local());
        CHECK(query->local == asked.ip);
        REQUIRE(server.try_send(as_bytes("answer"), query->from, query->local));
        auto answer = run(loop, receive(client, 100));  // a dialled socket takes only what comes from `asked`
        REQUIRE(answer);
        CHECK(answer->text == "answer");
        CHECK(answer->from == asked);
    }
}

TEST_CASE("an IPv4 socket keeps the asked address, too", "[io]") {
    Loop loop(ring());
    Datagram server = open(loop, "0.0.0.0");
    Datagram client = dial(loop, {*Ip::parse("127.4.4.4"), server.local()->port});
    REQUIRE(client.try_send(as_bytes("q")));
    auto query = run(loop, receive(server, 100));
    REQUIRE(query);
    CHECK(query->local == *Ip::parse("127.4.4.4"));
    REQUIRE(server.try_send(as_bytes("a"), query->from, query->local));
    CHECK(run(loop, receive(client, 100))->text == "a");
}

TEST_CASE("a packet longer than the buffer says so", "[io]") {
    Loop loop(ring());
    Datagram server = open(loop, "127.0.0.1");
    Datagram client = dial(loop, *server.local());
    REQUIRE(client.try_send(as_bytes("0123456789")));
    auto query = run(loop, receive(server, 4));
    REQUIRE(query);
    CHECK(query->text == "0123");
    CHECK(query->truncated);
}

TEST_CASE("a dialled socket learns that nobody listens", "[io]") {
    Loop loop(ring());
    Address nobody = *open(loop, "127.0.0.1").local();
    Datagram client = dial(loop, nobody);
    REQUIRE(client.try_send(as_bytes("anybody?")));
    auto answer = run(loop, receive(client, 100));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().reason == Reason::connect_refused);
}

TEST_CASE("a UDP port that is taken is an error that names it", "[io]") {
    Loop loop(ring());
    Datagram first = open(loop, "127.0.0.1");
    auto second = Datagram::open(loop, own_namespace, *first.local(), {.reuse_port = false});
    REQUIRE_FALSE(second);
    CHECK(second.error().text.starts_with("cannot bind UDP 127.0.0.1:"));
}
