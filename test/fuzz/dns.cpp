// Any packet as a query: never a crash, never an answer larger than allowed, and what we answer is itself
// well-formed DNS with the question that was asked.
#include "lib/mesh/dns.h"
#include "lib/base/check.h"
#include "test/unit/mesh/builders.h"

#include <array>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;
namespace dns = culvert::mesh::dns;

namespace {

DirectoryPtr known() {
    std::vector<std::variant<Workload, Service>> all{service("s", {"10.1.0.1", "fd00::1"}), service("h", {})};
    for (std::uint32_t i = 0; i < 60; ++i)
        all.emplace_back(pod("p" + std::to_string(i), {}, [&](Workload& workload) {
            workload.addresses = {Ip::v4(0x0a000000 + i)};
            workload.services[key("h")] = {};
        }));
    return directory(std::move(all));
}

void check_response(const dns::Query& query, const Buffer& response, std::size_t size_max) {
    check(response.size() <= size_max);
    auto again = dns::parse(response);
    check(again.has_value() && again->response && again->id == query.id);
    if (!query.question.empty()) check(again->question == query.question && !again->malformed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const DirectoryPtr directory = known();
    static const WorkloadPtr client = make_record(pod("client", {"10.0.0.99"}));
    auto query = dns::parse(std::as_bytes(std::span(data, size)));
    check(query.has_value() == (size >= 12));
    if (!query) return 0;
    SeededRandom random(size);
    dns::Answer answer = dns::resolve(*directory, {}, {*client, true}, *query, random);
    check_response(*query, dns::encode_failure(*query, dns::Code::server_failure), dns::udp_plain_max);
    if (answer.what == dns::Answer::What::forward) return 0;
    for (std::size_t size_max : {dns::udp_size_max(*query), dns::message_max})
        check_response(*query, dns::encode(*query, answer, size_max), size_max);
    return 0;
}
