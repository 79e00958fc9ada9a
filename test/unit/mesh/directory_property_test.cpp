// Incremental equals rebuilt: random histories of deltas, compared after each step with a directory that was
// built at once from what has survived, by everything that can be asked of one.
#include "lib/base/random.h"
#include "test/unit/mesh/builders.h"

#include <catch2/catch.hpp>

#include <map>

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

namespace {

constexpr int workloads_max = 40;
constexpr int services_max = 8;
const std::vector<std::string> spaces{"ns", "b", "c"};

class History {
public:
    explicit History(std::uint64_t seed) : random_(seed) {}

    void step() {
        Delta delta;
        for (auto changes = random_.below(6); changes-- > 0;) {
            if (random_.below(3) == 0) {
                put(delta, random_service());
            } else {
                put(delta, random_workload());
            }
        }
        for (auto removals = random_.below(3); removals-- > 0;) {
            std::string uid = uid_of(random_.below(workloads_max));
            delta.removed_addresses.push_back(uid);
            workloads_.erase(uid);
        }
        if (random_.below(4) == 0) {
            ServiceKey gone = random_service().key();
            delta.removed_addresses.push_back(gone.to_string());
            std::erase_if(services_, [&](const auto& one) { return one.key() == gone; });
        }
        writer_.apply(delta);
    }

    const Directory& incremental() const { return *writer_.current(); }
    DirectoryPtr rebuilt() const {
        Delta all;
        for (const auto& one : services_)
            all.addresses.emplace_back(one);  // in the order of their first arrival
        for (const auto& [uid, one] : workloads_) all.addresses.emplace_back(one);
        DirectoryWriter fresh;
        return fresh.apply(all);
    }
    std::vector<Ip> addresses() const {
        std::vector<Ip> all;
        for (std::uint32_t i = 0; i < 16; ++i) all.push_back(Ip::v4(0x0a000000 + i));
        for (std::uint32_t i = 0; i < 16; ++i) all.push_back(Ip::v4(0x0a010000 + i));
        return all;
    }

private:
    static std::string uid_of(std::uint64_t number) { return "cluster1//Pod/ns/w" + std::to_string(number); }

    void put(Delta& delta, const Workload& value) {
        workloads_[value.uid] = value;
        delta.addresses.emplace_back(value);
    }
    void put(Delta& delta, const Service& value) {
        auto at = std::ranges::find(services_, value.key(), &Service::key);
        if (at == services_.end()) {
            services_.push_back(value);
        } else {
            *at = value;
        }
        delta.addresses.emplace_back(value);
    }

    Workload random_workload() {
        Workload value = pod("w" + std::to_string(random_.below(workloads_max)), {});
        value.addresses = {Ip::v4(static_cast<std::uint32_t>(0x0a000000 + random_.below(16)))};
        if (random_.below(4) == 0) value.tunnel_protocol = TunnelProtocol::none;
        if (random_.below(8) == 0) value.network_mode = NetworkMode::host_network;
        if (random_.below(4) == 0) value.health = Health::unhealthy;
        if (random_.below(6) == 0) value.hostname = "h" + std::to_string(random_.below(4));
        for (auto count = random_.below(3); count-- > 0;) value.services[random_service().key()] = {};
        return value;
    }
    Service random_service() {
        Service value = service("s" + std::to_string(random_.below(services_max)), {}, [&](Service& made) {
            made.name_space = spaces[random_.below(spaces.size())];
            made.hostname = "s" + std::to_string(random_.below(services_max)) + ".example";
        });
        for (auto count = random_.below(3); count-- > 0;) {
            auto base = Ip::v4(static_cast<std::uint32_t>(0x0a010000 + random_.below(16)));
            auto length = static_cast<std::uint32_t>(random_.below(3) == 0 ? 28 + random_.below(4) : 32);
            Vip vip{"", *Cidr::make(base, length)};
            if (std::ranges::find(value.vips, vip) == value.vips.end()) value.vips.push_back(vip);
        }
        value.canonical = random_.below(3) == 0;
        if (random_.below(4) == 0) value.visibility = Visibility::name_space;
        return value;
    }

    SeededRandom random_;
    DirectoryWriter writer_;
    std::map<std::string, Workload> workloads_;
    std::vector<Service> services_;
};

std::map<std::string, Workload> all_workloads(const Directory& directory) {
    std::map<std::string, Workload> all;
    directory.for_each_workload([&](const WorkloadPtr& one) { all[std::string(one->uid())] = one->value(); });
    return all;
}

// Services, staged ones too, with the uids of their endpoints.
std::map<std::string, std::pair<std::optional<Service>, std::vector<std::string>>>
all_services(const Directory& from) {
    std::map<std::string, std::pair<std::optional<Service>, std::vector<std::string>>> all;
    from.for_each_service([&](const ServicePtr& one) {
        auto& [value, endpoints] = all[one->key.to_string()];
        if (one->value) value = *one->value;
        one->endpoints.for_each(
            [&](const WorkloadPtr& endpoint) { endpoints.emplace_back(endpoint->uid()); });
        std::ranges::sort(endpoints);
    });
    return all;
}

bool lookups_agree(const History& history, const Directory& a, const Directory& b) {
    auto uid = [](const WorkloadPtr& one) { return one ? std::string(one->uid()) : ""; };
    auto name = [](const ServicePtr& one) { return one ? one->key.to_string() : ""; };
    for (Ip ip : history.addresses()) {
        if (uid(a.workload_at("", ip)) != uid(b.workload_at("", ip))) return false;
        for (const std::string& client : spaces)
            if (name(a.service_at("", ip, client)) != name(b.service_at("", ip, client))) return false;
    }
    for (int i = 0; i < services_max; ++i) {
        std::string host = "s" + std::to_string(i) + ".example";
        for (const std::string& client : {"ns", "b", "c", "d"})
            if (name(a.service_by_hostname(host, client)) != name(b.service_by_hostname(host, client)))
                return false;
    }
    for (int i = 0; i < workloads_max; ++i) {
        std::string pod = "w" + std::to_string(i);
        if (uid(a.local_workload("ns", pod, pod + "-sa")) != uid(b.local_workload("ns", pod, pod + "-sa")))
            return false;
    }
    return true;
}

}  // namespace

TEST_CASE("a directory that grew delta by delta equals one that was built at once") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        History history(seed);
        for (int step = 0; step < 25; ++step) {
            CAPTURE(seed, step);
            history.step();
            DirectoryPtr rebuilt = history.rebuilt();
            REQUIRE(all_workloads(history.incremental()) == all_workloads(*rebuilt));
            REQUIRE(all_services(history.incremental()) == all_services(*rebuilt));
            REQUIRE(lookups_agree(history, history.incremental(), *rebuilt));
        }
    }
}

TEST_CASE("a table keeps every entry while it grows and shrinks, and older tables keep theirs") {
    SeededRandom random(7);
    std::map<std::uint64_t, std::uint64_t> expected;
    Table<std::uint64_t> table;
    for (int round = 0; round < 60; ++round) {
        Table<std::uint64_t> before = table;
        std::map<std::uint64_t, std::uint64_t> expected_before = expected;
        TableEdit<std::uint64_t> edit(table);
        for (int i = 0; i < 200; ++i) {
            std::uint64_t value = random.below(6000);
            std::uint64_t hash = hash_text(std::to_string(value));
            if (random.below(3) == 0) {
                CHECK(edit.erase(hash, [&](std::uint64_t one) { return one == value; }) ==
                      (expected.erase(value) == 1));
            } else if (expected.try_emplace(value, hash).second) {
                edit.insert(hash, value);
            }
        }
        table = edit.done();
        auto same = [](const Table<std::uint64_t>& is, const std::map<std::uint64_t, std::uint64_t>& wanted) {
            if (is.size() != wanted.size()) return false;
            return std::ranges::all_of(wanted, [&](const auto& one) {
                return is.find(one.second, [&](std::uint64_t value) { return value == one.first; }) !=
                       nullptr;
            });
        };
        REQUIRE(same(table, expected));
        REQUIRE(same(before, expected_before));
    }
}
