// DNS for the services of the directory: wire facts D-2 to D-12 as pure functions. A query is parsed,
// answered from one snapshot, or left to be forwarded byte for byte (deviation from D-13, which
// re-synthesises what it forwards).
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/random.h"
#include "lib/mesh/decide.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace culvert::mesh::dns {

inline constexpr std::size_t udp_plain_max = 512;  // RFC 1035 4.2.1, without EDNS
inline constexpr std::size_t message_max = 65'535;
inline constexpr std::uint32_t ttl_s = 30;  // D-10

enum class Type : std::uint16_t { a = 1, cname = 5, aaaa = 28, opt = 41 };
enum class Code : std::uint8_t { no_error = 0, format_error = 1, server_failure = 2, not_implemented = 4 };

struct Query {
    std::uint16_t id = 0;
    std::uint8_t opcode = 0;
    bool response = false;
    bool recursion_desired = false;
    bool checking_disabled = false;
    std::string name;  // lower case, without the last dot; "" is the root
    std::uint16_t type = 0;
    std::uint16_t query_class = 0;
    ConstBytes question;  // as it came, echoed in answers: part of the message given to parse()
    std::optional<std::uint16_t> edns_size;  // the requester's payload size, at least 512
    bool dnssec_ok = false;
};

// None: not even a header and one question; such a packet gets no answer. A message whose question is damaged
// gives a Query with `malformed` and is answered FORMERR.
struct Parsed {
    Query query;
    bool malformed = false;
};
std::optional<Parsed> parse(ConstBytes message);

struct Answer {
    enum class What : std::uint8_t { forward, local };
    What what = What::forward;
    Code code = Code::no_error;
    std::string canonical_name;  // D-11: the answer starts with a CNAME to this name; else ""
    std::vector<Ip> addresses;   // shuffled, all of the wanted family; empty with no_error: D-12
    ServicePtr service;          // for the access line
};

// Who asks (D-3) and what this node can do.
struct Client {
    const WorkloadRecord& workload;
    bool ipv6 = true;  // IPV6_ENABLED (D-12)
};

Answer resolve(const Directory& directory, const Surroundings& around, const Client& client,
               const Query& query, Random& random);

// The response to `query`: at most `size_max` bytes; over UDP what does not fit is cut and marked TC (D-2).
Buffer encode(const Query& query, const Answer& answer, std::size_t size_max);
// A response without records: FORMERR, NOTIMP, SERVFAIL.
Buffer encode_failure(const Query& query, Code code);
// The largest answer that the requester takes over UDP.
std::size_t udp_size_max(const Query& query);

// The names that D-5 and D-6 try, in order; `stripped` is the name without its search domain, or "" (D-11).
struct Candidate {
    std::string name;
    std::string stripped;
};
std::vector<Candidate> candidates(std::string_view name, std::string_view name_space,
                                  std::string_view cluster_domain);

}  // namespace culvert::mesh::dns
