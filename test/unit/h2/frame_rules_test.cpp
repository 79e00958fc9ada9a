// RFC 9113's rules as tables of bytes and what they must bring about: test/vectors/h2.
#include "test/support/h2_wire.h"
#include "test/support/vectors.h"

#include <catch2/catch.hpp>
#include <sstream>

using namespace culvert;

namespace {

void run_command(h2::Engine& engine, std::string_view text) {
    std::istringstream words{std::string(text)};
    std::string verb;
    words >> verb;
    if (verb == "drain") return engine.drain();
    h2::StreamId stream = 0;
    int status = 0;
    words >> stream >> status;
    REQUIRE(verb == "respond");
    engine.respond(stream, {.status = status, .baggage = {}});
}

void compare(const test::Vector& vector, const test::H2Fed& fed) {
    std::vector<std::string> expected;
    for (auto event : vector.values("event")) expected.emplace_back(event);
    CHECK(fed.events == expected);
    CHECK(fed.error == vector.value("fails"));
}

void run(const test::Vector& vector, h2::Role role, std::size_t step) {
    h2::Engine engine = test::h2_engine(role, vector.value("given"));
    test::H2Fed fed = test::h2_feed(engine, test::bytes_of(vector.value("in")), step);
    compare(vector, fed);
    for (auto command : vector.values("do")) run_command(engine, command);
    if (vector.has("out"))
        CHECK(test::hex_of(engine.output()) == test::hex_of(test::bytes_of(vector.value("out"))));
}

void run_handed_over(const test::Vector& vector, h2::Role role) {
    h2::Engine engine = test::h2_engine(role, vector.value("given"));
    test::H2Fed all;
    Buffer bytes = test::bytes_of(vector.value("in"));
    for (std::size_t at = 0; at < bytes.size() && all.error.empty(); ++at) {
        engine = test::h2_reborn(engine);
        test::H2Fed fed = test::h2_feed(engine, ConstBytes(bytes).subspan(at, 1));
        for (auto& event : fed.events) {
            bool more =
                event.starts_with("data ") && !all.events.empty() && all.events.back().starts_with("data ");
            if (more)
                all.events.back() += event.substr(7);
            else
                all.events.push_back(event);
        }
        all.error = fed.error;
    }
    if (!bytes.empty()) compare(vector, all);
}

void run_file(const char* path, h2::Role role) {
    for (const auto& vector : test::read_vectors(path)) {
        INFO(path << ": " << vector.name);
        REQUIRE(vector.has("in"));
        run(vector, role, 0);
        run(vector, role, 1);
        run_handed_over(vector, role);
    }
}

}  // namespace

TEST_CASE("a server keeps RFC 9113, at once, byte by byte and handed over at each byte [H-20] [H-26] [H-29] "
          "[H-31] [S20]") {
    run_file("test/vectors/h2/server.txt", h2::Role::server);
}

TEST_CASE("a client keeps RFC 9113, at once, byte by byte and handed over at each byte [H-26] [H-33] [H-37] "
          "[S17]") {
    run_file("test/vectors/h2/client.txt", h2::Role::client);
}
