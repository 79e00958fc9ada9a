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
inline constexpr std::size_t udp_edns_max = 4096;  // what we send at most over UDP, whatever EDNS offers
inline constexpr std::size_t message_max = 65'535;
inline constexpr std::size_t addresses_max = 1000;  // of one answer; a random choice of more (docs/limits.md)
inline constexpr std::uint32_t ttl_s = 30;          // D-10

enum class Type : std::uint16_t { a = 1, cname = 5, aaaa = 28, opt = 41 };
enum class Code : std::uint8_t { no_error = 0, format_error = 1, server_failure = 2, not_implemented = 4 };

struct Query {
    std::uint16_t id = 0;
    std::uint8_t opcode = 0;  // 0: a standard query
    bool response = false;    // somebody sent us an answer
    bool malformed = false;   // not one whole question
    bool recursion_desired = false;
    bool checking_disabled = false;
    std::string name;   // lower case, without the last dot; "" is the root
    bool plain = true;  // false: a label holds a dot or something unprintable; never a name of ours
    std::uint16_t type = 0;
    std::uint16_t query_class = 0;
    Buffer question;                         // as it came, with its spelling: echoed in answers
    std::optional<std::uint16_t> edns_size;  // the requester's payload size, at least 512 (D-2)
    bool dnssec_ok = false;
};

// None: not even a whole header; such a packet gets no answer.
std::optional<Query> parse(ConstBytes message);

struct Answer {
    enum class What : std::uint8_t { forward, local };
    What what = What::forward;
    Code code = Code::no_error;
    std::string canonical_name;  // D-11: the answer starts with a CNAME to this name; else ""
    std::vector<Ip> addresses;   // shuffled, of the wanted family; none with no_error: D-12
    ServicePtr service;          // for the access line
};

// Who asks (D-3) and what this node can do.
struct Client {
    const WorkloadRecord& workload;
    bool ipv6 = true;  // IPV6_ENABLED (D-12)
};

Answer resolve(const Directory& directory, const Surroundings& around, const Client& client,
               const Query& query, Random& random);

// The response to `query`, at most `size_max` bytes; what does not fit is left out and marked TC (D-2).
Buffer encode(const Query& query, const Answer& answer, std::size_t size_max);
// A response without records, such as SERVFAIL when nobody upstream answers (D-14).
Buffer encode_failure(const Query& query, Code code);
// The largest answer that the requester takes over UDP.
std::size_t udp_size_max(const Query& query);

// The names that D-5 and D-6 try, in order. `stripped`: the queried name without a search domain, if that is
// how we got here (D-11); else "".
struct Candidate {
    std::string name;
    std::string stripped;
};
std::vector<Candidate> candidates(std::string_view name, std::string_view name_space,
                                  std::string_view cluster_domain);

}  // namespace culvert::mesh::dns
