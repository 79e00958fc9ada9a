#include "lib/base/metrics.h"

#include <catch2/catch.hpp>

using namespace culvert;

TEST_CASE("counters print with _total and the text ends with # EOF [M-1]", "[metrics]") {
    Registry registry;
    registry.counter("istio_tcp_sent_bytes", "Bytes sent", {{"reporter", "source"}, {"v", "a\"b"}}).add(3);
    registry.gauge("istio_build", "Build", {{"component", "ztunnel"}}).set(1);
    REQUIRE(registry.render() ==
            "# HELP istio_build Build.\n# TYPE istio_build gauge\nistio_build{component=\"ztunnel\"} 1\n"
            "# HELP istio_tcp_sent_bytes Bytes sent.\n# TYPE istio_tcp_sent_bytes counter\n"
            "istio_tcp_sent_bytes_total{reporter=\"source\",v=\"a\\\"b\"} 3\n# EOF\n");
}

TEST_CASE("a family that is full counts further label sets as overflow", "[metrics]") {
    Registry registry;
    for (std::size_t i = 0; i < Registry::series_max; ++i)
        registry.counter("c", "C", {{"i", std::to_string(i)}});
    registry.counter("c", "C", {{"i", "one more"}}).add();
    registry.counter("c", "C", {{"i", "and another"}}).add();
    REQUIRE(registry.render().find("c_total{i=\"overflow\"} 2\n") != std::string::npos);
}

TEST_CASE("a histogram's buckets are cumulative", "[metrics]") {
    Registry registry;
    auto& h = registry.histogram("d", "D", {0.1, 1});
    h.observe(0.05), h.observe(0.5), h.observe(5);
    auto text = registry.render();
    REQUIRE(text.find("d_bucket{le=\"0.1\"} 1\nd_bucket{le=\"1\"} 2\nd_bucket{le=\"+Inf\"} 3\n") !=
            std::string::npos);
}
