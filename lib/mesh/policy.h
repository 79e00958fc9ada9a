// An authorization policy as the wire carries it (wire.md 5.4): a plain value. R-4 says how it is read: a
// policy is an OR over rules, a rule an AND over clauses, a clause an OR over matches, a match an AND over
// fields, a field an OR over its values; `none_of` holds when none of its values matches, and both halves of
// a field are ANDed.
//
// Deviation from R-7: what the wire carries malformed (an unset StringMatch, an address of odd length, a
// prefix that is too long, a port above 65535) is kept as `malformed` instead of being dropped, because a
// dropped entry widens a field. rbac.h reads it so that it never widens an ALLOW nor narrows a DENY. The
// translation must keep such entries.
#pragma once
#include "lib/base/ip.h"

#include <cstdint>
#include <string>
#include <vector>

namespace culvert::mesh {

struct StringMatch {
    enum class Kind : std::uint8_t { exact, prefix, suffix, presence, malformed };
    Kind kind = Kind::malformed;
    std::string value;  // empty for presence and malformed
    bool operator==(const StringMatch&) const = default;

    static StringMatch exact(std::string value) { return {Kind::exact, std::move(value)}; }
    static StringMatch prefix(std::string value) { return {Kind::prefix, std::move(value)}; }
    static StringMatch suffix(std::string value) { return {Kind::suffix, std::move(value)}; }
    static StringMatch presence() { return {Kind::presence, {}}; }
    static StringMatch malformed() { return {}; }
};

struct IpMatch {
    Cidr range;
    bool malformed = false;
    bool operator==(const IpMatch&) const = default;
};

struct PortMatch {
    std::uint32_t port = 0;  // as on the wire; above 65535 counts as malformed
    bool malformed() const { return port > 65535; }
    bool operator==(const PortMatch&) const = default;
};

struct ServiceAccountMatch {
    std::string name_space;
    std::string service_account;
    bool operator==(const ServiceAccountMatch&) const = default;
};

template <class T> struct Field {
    std::vector<T> any_of;   // empty: no constraint
    std::vector<T> none_of;  // "not_x" on the wire
    bool empty() const { return any_of.empty() && none_of.empty(); }
    bool operator==(const Field&) const = default;
};

struct Match {
    Field<StringMatch> namespaces;
    Field<StringMatch> principals;
    Field<ServiceAccountMatch> service_accounts;
    Field<IpMatch> source_ips;
    Field<IpMatch> destination_ips;
    Field<PortMatch> destination_ports;
    bool operator==(const Match&) const = default;
    bool empty() const;  // never matches
};

struct Clause {
    std::vector<Match> matches;  // empty: satisfied
    bool operator==(const Clause&) const = default;
};

struct Rule {
    std::vector<Clause> clauses;  // empty: matches
    bool operator==(const Rule&) const = default;
};

enum class PolicyScope : std::uint8_t { global, name_space, workload_selector };
enum class PolicyAction : std::uint8_t { allow, deny };

struct Policy {
    std::string name;
    std::string name_space;
    PolicyScope scope = PolicyScope::global;
    PolicyAction action = PolicyAction::allow;
    std::vector<Rule> rules;  // empty: never matches
    bool dry_run = false;
    bool operator==(const Policy&) const = default;
};

}  // namespace culvert::mesh
