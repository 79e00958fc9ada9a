// Policies and connections made of a stream of choices, which is a seed in tests and the input of the fuzzer.
// They are drawn from few values, so that matches are neither rare nor certain.
#pragma once
#include "lib/base/random.h"
#include "lib/mesh/directory_writer.h"
#include "lib/mesh/rbac.h"

namespace culvert::mesh::test {

class RandomPolicies {
public:
    explicit RandomPolicies(Random& random) : random_(random) {}

    std::vector<NamedPolicy> policies() {
        std::vector<NamedPolicy> all;
        for (auto count = random_.below(5); count-- > 0;) {
            std::string key = "ns" + std::to_string(random_.below(2)) + "/p" + std::to_string(count);
            all.push_back({key, policy(key)});
        }
        return all;
    }

    Workload destination() {
        Workload workload;
        workload.uid = "uid";
        workload.name_space = "ns" + std::to_string(random_.below(2));
        for (auto count = random_.below(3); count-- > 0;)
            workload.authorization_policies.push_back("ns" + std::to_string(random_.below(2)) + "/p" +
                                                      std::to_string(random_.below(5)));
        return workload;
    }

    RbacConnection connection() {
        RbacConnection made{address(), {}, {address(), static_cast<std::uint16_t>(random_.below(3))}};
        if (random_.below(4) != 0) made.identity = Identity{"td", name(), name()};
        return made;
    }

private:
    std::string name() {
        return std::string(1 + random_.below(2), static_cast<char>('a' + random_.below(2)));
    }
    Ip address() {
        if (random_.below(3) != 0) return Ip::v4(static_cast<std::uint32_t>(0x0a000000 + random_.below(4)));
        return *Ip::parse(random_.below(2) == 0 ? "fd00::1" : "fd00::2");
    }

    Policy policy(const std::string& key) {
        Policy made;
        made.name_space = key.substr(0, key.find('/'));
        made.name = key.substr(key.find('/') + 1);
        made.scope = static_cast<PolicyScope>(random_.below(3));
        made.action = static_cast<PolicyAction>(random_.below(2));
        made.dry_run = random_.below(8) == 0;
        for (auto rules = random_.below(3); rules-- > 0;) {
            Rule rule;
            for (auto clauses = random_.below(3); clauses-- > 0;) {
                Clause clause;
                for (auto matches = random_.below(3); matches-- > 0;) clause.matches.push_back(match());
                rule.clauses.push_back(std::move(clause));
            }
            made.rules.push_back(std::move(rule));
        }
        return made;
    }

    Match match() {
        Match made;
        fill(made.namespaces, [this] { return text(name()); });
        fill(made.principals, [this] { return text("td/ns/" + name() + "/sa/" + name()); });
        fill(made.service_accounts, [this] { return ServiceAccountMatch{name(), name()}; });
        fill(made.source_ips, [this] { return range(); });
        fill(made.destination_ips, [this] { return range(); });
        fill(made.destination_ports, [this] {
            return PortMatch{static_cast<std::uint32_t>(random_.below(8) == 0 ? 70'000 : random_.below(3))};
        });
        return made;
    }

    StringMatch text(const std::string& whole) {
        std::size_t cut = random_.below(whole.size() + 1);
        switch (random_.below(8)) {
        case 0: return StringMatch::prefix(whole.substr(0, cut));
        case 1: return StringMatch::suffix(whole.substr(cut));
        case 2: return StringMatch::presence();
        case 3: return StringMatch::malformed();
        default: return StringMatch::exact(whole);
        }
    }

    IpMatch range() {
        if (random_.below(8) == 0) return {{}, true};
        Ip base = address();
        return {*Cidr::make(base, static_cast<std::uint32_t>(random_.below(base.is_v4() ? 33 : 129))), false};
    }

    template <class T, class Make> void fill(Field<T>& field, Make make) {
        if (random_.below(4) == 0)
            for (auto count = 1 + random_.below(2); count-- > 0;) field.any_of.push_back(make());
        if (random_.below(6) == 0)
            for (auto count = 1 + random_.below(2); count-- > 0;) field.none_of.push_back(make());
    }

    Random& random_;
};

}  // namespace culvert::mesh::test
