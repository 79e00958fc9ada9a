#include "lib/base/log.h"

#include <catch2/catch.hpp>

using namespace culvert;

namespace {
const WallTime noon{std::chrono::seconds(1'700'000'000) + std::chrono::microseconds(42)};
}

TEST_CASE("a plain line quotes text and leaves addresses and numbers bare [L-3]", "[log]") {
    log::Field fields[] = {log::address("src.addr", *Address::parse("10.0.0.1:5")),
                           log::text("src.workload", "a \"b\""), log::number("bytes_sent", 7)};
    REQUIRE(log::format(false, noon, log::Level::info, "access", "connection complete", fields) ==
            "2023-11-14T22:13:20.000042Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:5 "
            "src.workload=\"a \\\"b\\\"\" "
            "bytes_sent=7");
}

TEST_CASE("a JSON line is one object with flat fields [L-3]", "[log]") {
    log::Field fields[] = {log::address("src.addr", *Address::parse("10.0.0.1:5")),
                           log::number("bytes_sent", 7)};
    REQUIRE(
        log::format(true, noon, log::Level::error, "access", "x\n", fields) ==
        R"({"level":"error","time":"2023-11-14T22:13:20.000042Z","scope":"access","message":"x\n","src.addr":"10.0.0.1:5","bytes_sent":7})");
}

TEST_CASE("no text of others begins a line or commands a terminal", "[log]") {
    log::Field fields[] = {log::text("pod", "a\x1b[2J\x7f\xc2\x9b\xc3\xa9\r\n")};
    std::string line =
        log::format(false, noon, log::Level::warn, "controller", "bad\n2023-01-01\tinfo\x1b[31m", fields);
    REQUIRE(line == "2023-11-14T22:13:20.000042Z\twarn\tcontroller\tbad\\n2023-01-01\\tinfo\\u001b[31m\t"
                    "pod=\"a\\u001b[2J\\u007f\\u009b\xc3\xa9\\u000d\\n\"");
    std::string json = log::format(true, noon, log::Level::warn, "controller", "\"\\\n", {});
    REQUIRE(json.find(R"("message":"\"\\\n")") != std::string::npos);
}

TEST_CASE("a filter with an unknown level is refused and changes nothing", "[log]") {
    REQUIRE(log::start({.json = false, .filter = "warn,xds=debug"}));
    REQUIRE(log::filter() == "warn,xds=debug");
    auto changed = log::change_filter("loud", false);
    REQUIRE_FALSE(changed);
    REQUIRE(changed.error().text.find("loud") != std::string::npos);
    REQUIRE(log::filter() == "warn,xds=debug");
    REQUIRE(log::enabled(log::Level::debug, "xds"));
    REQUIRE_FALSE(log::enabled(log::Level::info, "access"));
    REQUIRE(*log::change_filter("access=info", true) == "warn,access=info,xds=debug");
    log::stop();
}
