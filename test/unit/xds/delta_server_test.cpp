#include "lib/xds/delta_server.h"
#include "test/unit/xds/values.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace culvert;
using namespace culvert::test;
using xds::DeltaRequest;
using xds::DeltaStream;
using xds::Type;

namespace {

DeltaRequest ask(Type type) {
    DeltaRequest request;
    request.node = xds::Node{"ztunnel~1", "", {{"NODE_NAME", {"node-9", false}}}};
    request.type_url = xds::url(type);
    return request;
}

DeltaRequest answer(const xds::Push& push, std::optional<std::string> error = {}) {
    DeltaRequest request;
    request.type_url = xds::url(push.type);
    request.nonce = push.nonce;
    request.error = std::move(error);
    return request;
}

std::vector<std::string> names(const xds::Push& push) {
    std::vector<std::string> list;
    for (const auto& each : push.resources) list.push_back(each->name);
    std::ranges::sort(list);
    return list;
}

std::string pod(int number) { return xds::name_of(small_workload(number)); }
std::string service(int number) { return xds::name_of(small_service(number)); }

struct World {
    World() {
        for (int i = 1; i <= 3; ++i) publisher.set(xds::encode(small_workload(i)));
        publisher.set(xds::encode(small_policy(1)));
        publisher.publish();
    }
    std::optional<xds::Push> next() { return stream.next(publisher.current()); }
    xds::Push must_next() {
        auto push = next();
        REQUIRE(push);
        return *std::move(push);
    }
    DeltaStream::Heard hear(DeltaRequest request) { return stream.received(std::move(request)).value(); }
    // Everything that is due, acknowledged.
    void settle() {
        while (auto push = next()) hear(answer(*push));
    }
    void change(int number, int revision) {
        publisher.set(xds::encode(small_workload(number, revision)));
        publisher.publish();
    }
    bool synced() { return stream.synced(*publisher.current()); }

    xds::Publisher publisher;
    DeltaStream stream;
};

}  // namespace

TEST_CASE("nothing in the list of names asks for everything [X-17]", "[xds]") {
    World world;
    REQUIRE_FALSE(world.next());
    world.hear(ask(Type::address));
    auto push = world.must_next();
    REQUIRE(push.type == Type::address);
    REQUIRE(names(push) == std::vector{pod(1), pod(2), pod(3)});
    REQUIRE(push.removed.empty());
    REQUIRE_FALSE(push.nonce.empty());
}

TEST_CASE("a star asks for everything too, and star unasked for nothing [X-7][X-17]", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    request.subscribe = {"*"};
    SECTION("left standing") {
        world.hear(request);
        REQUIRE(world.must_next().resources.size() == 3);
    }
    SECTION("and taken back in the same message") {
        request.unsubscribe = {"*"};
        world.hear(request);
        REQUIRE_FALSE(world.next());
    }
}

TEST_CASE("the first answer comes even when there is nothing to say [X-12]", "[xds]") {
    World world;
    world.publisher.remove(Type::authorization, "shop/policy-1");
    world.publisher.publish();
    world.hear(ask(Type::authorization));
    auto push = world.must_next();
    REQUIRE(push.resources.empty());
    world.hear(answer(push));
    REQUIRE_FALSE(world.next());
    REQUIRE(world.synced());
}

TEST_CASE("an equal version that the client reports suppresses the resource [X-16]", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    request.initial_versions = {{pod(1), xds::encode(small_workload(1))->version}, {pod(2), "old"}};
    world.hear(request);
    REQUIRE(names(world.must_next()) == std::vector{pod(2), pod(3)});
}

TEST_CASE("what the client reported and is no more is removed at once [X-17]", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    request.initial_versions = {{"vanished", "v"}, {pod(1), ""}};
    world.hear(request);
    auto push = world.must_next();
    REQUIRE(push.removed == std::vector<std::string>{"vanished"});
    REQUIRE(names(push) == std::vector{pod(1), pod(2), pod(3)});
}

TEST_CASE("one response per type is on its way, and changes meanwhile are coalesced [X-19]", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    auto first = world.must_next();
    world.change(1, 1);
    world.change(1, 2);
    world.change(2, 1);
    world.publisher.remove(Type::address, pod(3));
    world.publisher.publish();
    REQUIRE_FALSE(world.next());
    world.hear(answer(first));
    auto second = world.must_next();
    REQUIRE(names(second) == std::vector{pod(1), pod(2)});
    REQUIRE(second.removed == std::vector{pod(3)});
    REQUIRE(second.nonce != first.nonce);
    REQUIRE(second.resources[0]->version == xds::encode(small_workload(1, 2))->version);
    world.hear(answer(second));
    REQUIRE_FALSE(world.next());
    REQUIRE(world.synced());
}

TEST_CASE("a change that is taken back meanwhile is not sent", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    auto first = world.must_next();
    world.change(1, 1);
    world.change(1, 0);
    world.hear(answer(first));
    REQUIRE_FALSE(world.next());
}

TEST_CASE("a stale nonce is ignored [X-19]", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    auto first = world.must_next();
    world.hear(answer(first));
    world.change(1, 1);
    auto second = world.must_next();
    world.change(2, 1);
    auto heard = world.hear(answer(first, "late complaint"));
    REQUIRE(heard.stale);
    REQUIRE_FALSE(heard.error);
    REQUIRE(world.stream.outstanding(Type::address));
    REQUIRE_FALSE(world.next());
    world.hear(answer(second));
    REQUIRE(names(world.must_next()) == std::vector{pod(2)});
}

TEST_CASE("a NACK is heard and nothing is pushed again because of it [X-19]", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    auto heard = world.hear(answer(world.must_next(), "pod-1: bad"));
    REQUIRE(heard.error == "pod-1: bad");
    REQUIRE_FALSE(world.next());
    world.change(1, 1);
    REQUIRE(names(world.must_next()) == std::vector{pod(1)});
}

TEST_CASE("a type that is not served is named and never answered", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    request.type_url = "type.googleapis.com/envoy.config.listener.v3.Listener";
    REQUIRE_FALSE(world.hear(request).type);
    REQUIRE_FALSE(world.next());
}

TEST_CASE("the first request must say who asks [X-6]", "[xds]") {
    DeltaStream stream;
    DeltaRequest request = ask(Type::address);
    request.node.reset();
    REQUIRE(stream.received(request).error().reason == Reason::bad_input);
    request.node.emplace();
    REQUIRE_FALSE(stream.received(request));
}

TEST_CASE("a new policy goes before the addresses that name it, a removed one after them", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    world.hear(ask(Type::authorization));
    world.settle();
    mesh::Workload bound = small_workload(1);
    bound.authorization_policies = {"shop/policy-2"};
    world.publisher.set(xds::encode(bound));
    world.publisher.set(xds::encode(small_policy(2)));
    world.publisher.publish();
    auto first = world.must_next();
    REQUIRE(names(first) == std::vector<std::string>{"shop/policy-2"});
    auto second = world.must_next();
    REQUIRE(names(second) == std::vector{pod(1)});
    world.hear(answer(second));
    world.hear(answer(first));

    world.change(1, 0);
    world.publisher.remove(Type::authorization, "shop/policy-2");
    world.publisher.publish();
    auto third = world.must_next();
    REQUIRE(third.type == Type::address);
    REQUIRE_FALSE(world.next());
    REQUIRE_FALSE(world.synced());
    world.hear(answer(third));
    auto fourth = world.must_next();
    REQUIRE(fourth.type == Type::authorization);
    REQUIRE(fourth.removed == std::vector<std::string>{"shop/policy-2"});
    world.hear(answer(fourth));
    REQUIRE(world.synced());
}

TEST_CASE("addresses wait while a policy that they may name cannot be pushed yet", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    world.hear(ask(Type::authorization));
    world.settle();
    world.publisher.set(xds::encode(small_policy(1, 1)));
    world.publisher.publish();
    auto outstanding = world.must_next();
    REQUIRE(outstanding.type == Type::authorization);
    world.publisher.set(xds::encode(small_policy(2)));
    world.change(1, 5);
    REQUIRE_FALSE(world.next());
    world.hear(answer(outstanding));
    REQUIRE(world.must_next().type == Type::authorization);
    REQUIRE(names(world.must_next()) == std::vector{pod(1)});
}

TEST_CASE("a push is cut at its bound and the rest follows", "[xds]") {
    xds::Publisher publisher;
    for (int i = 0; i < 50; ++i) publisher.set(xds::encode(small_workload(i)));
    std::size_t size = xds::encode(small_workload(10))->chunk.size();
    DeltaStream stream(10 * size);
    REQUIRE(stream.received(ask(Type::address)));
    publisher.publish();
    std::size_t pushes = 0, resources = 0;
    while (auto push = stream.next(publisher.current())) {
        ++pushes;
        resources += push->resources.size();
        REQUIRE(push->resources.size() <= 11);
        REQUIRE(push->more == (resources < 50));  // all but the last say that more follows
        REQUIRE(stream.received(answer(*push)));
    }
    REQUIRE(resources == 50);
    REQUIRE(pushes >= 5);
    REQUIRE(stream.synced(*publisher.current()));
}

TEST_CASE("policies stay in one response where addresses are cut already [X-5]", "[xds]") {
    xds::Publisher publisher;
    std::size_t size = 0;
    for (int i = 0; i < 12; ++i) {
        auto policy = xds::encode(small_policy(i));
        size = std::max(size, policy->chunk.size());
        publisher.set(policy);
    }
    publisher.publish();
    DeltaStream stream(size * 10);
    REQUIRE(stream.received(ask(Type::authorization)));
    auto push = stream.next(publisher.current());
    REQUIRE(push);
    REQUIRE(push->resources.size() == 12);
    REQUIRE_FALSE(push->more);
}

TEST_CASE("a stream that is too far behind compares everything", "[xds]") {
    World world;
    world.hear(ask(Type::address));
    auto first = world.must_next();
    for (int i = 0; i < 300; ++i) world.change(1, 1 + i % 7);
    world.publisher.remove(Type::address, pod(2));
    world.publisher.publish();
    REQUIRE_FALSE(world.publisher.current()->changed_since(Type::address, 1));
    world.hear(answer(first));
    auto push = world.must_next();
    REQUIRE(names(push) == std::vector{pod(1)});
    REQUIRE(push.removed == std::vector{pod(2)});
}

TEST_CASE("names are looked up as uid, as address, and as service with its endpoints [X-18]", "[xds]") {
    World world;
    world.publisher.set(xds::encode(small_service(1)));
    mesh::Service web = small_service(2);
    web.hostname = "web.shop.svc.cluster.local";
    world.publisher.set(xds::encode(web));
    world.publisher.publish();
    DeltaRequest request = ask(Type::address);
    request.subscribe = {"*"};
    request.unsubscribe = {"*"};
    world.hear(request);
    DeltaRequest more;
    more.type_url = xds::url(Type::address);
    SECTION("uid") {
        more.subscribe = {pod(2)};
        world.hear(more);
        REQUIRE(names(world.must_next()) == std::vector{pod(2)});
    }
    SECTION("workload address") {
        more.subscribe = {"/10.0.0.3"};
        world.hear(more);
        REQUIRE(names(world.must_next()) == std::vector{pod(3)});
    }
    SECTION("service key") {
        more.subscribe = {service(1)};
        world.hear(more);
        REQUIRE(names(world.must_next()) == std::vector{service(1)});
    }
    SECTION("VIP, with endpoints that stay subscribed") {
        more.subscribe = {"/10.96.0.2"};
        world.hear(more);
        auto push = world.must_next();
        REQUIRE(names(push) ==
                std::vector<std::string>{pod(1), pod(2), pod(3), "shop/web.shop.svc.cluster.local"});
        world.hear(answer(push));
        world.change(3, 1);
        REQUIRE(names(world.must_next()) == std::vector{pod(3)});
    }
    SECTION("an unknown name comes back as removed, and arrives when it exists") {
        more.subscribe = {pod(77)};
        world.hear(more);
        auto push = world.must_next();
        REQUIRE(push.resources.empty());
        REQUIRE(push.removed == std::vector{pod(77)});
        world.hear(answer(push));
        world.change(5, 0);
        REQUIRE_FALSE(world.next());
        world.change(77, 0);
        REQUIRE(names(world.must_next()) == std::vector{pod(77)});
    }
    SECTION("asked for again, it is sent again") {
        more.subscribe = {pod(2)};
        world.hear(more);
        world.settle();
        world.hear(more);
        REQUIRE(names(world.must_next()) == std::vector{pod(2)});
    }
    SECTION("unsubscribed, it is not sent any more") {
        more.subscribe = {pod(2)};
        world.hear(more);
        world.settle();
        more.subscribe.clear();
        more.unsubscribe = {pod(2)};
        world.hear(more);
        world.change(2, 3);
        REQUIRE_FALSE(world.next());
    }
}

TEST_CASE("what lives on the client's node is pushed unasked [X-18]", "[xds]") {
    World world;
    mesh::Workload local = small_workload(50);
    local.node = "node-9";
    world.publisher.set(xds::encode(local));
    world.publisher.publish();
    DeltaRequest request = ask(Type::address);
    request.subscribe = {"*"};
    request.unsubscribe = {"*"};
    world.hear(request);
    REQUIRE(names(world.must_next()) == std::vector{pod(50)});
}

TEST_CASE("names reported at a reconnect go on being asked for [X-8][X-18]", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    request.subscribe = {"*"};
    request.unsubscribe = {"*"};
    request.initial_versions = {{pod(1), xds::encode(small_workload(1))->version},
                                {pod(2), "old"},
                                {"gone", "v"},
                                {"never-answered", ""}};
    world.hear(request);
    auto push = world.must_next();
    REQUIRE(names(push) == std::vector{pod(2)});
    std::ranges::sort(push.removed);
    REQUIRE(push.removed == std::vector<std::string>{"gone", "never-answered"});
    world.hear(answer(push));
    world.change(1, 4);
    REQUIRE(names(world.must_next()) == std::vector{pod(1)});
}

TEST_CASE("a flood of names ends the stream", "[xds]") {
    World world;
    DeltaRequest request = ask(Type::address);
    for (std::size_t i = 0; i <= DeltaStream::names_max; ++i) request.subscribe.push_back(std::to_string(i));
    REQUIRE(world.stream.received(request).error().reason == Reason::limit);
    DeltaStream another;
    request.subscribe = {std::string(DeltaStream::name_bytes_max + 1, 'x')};
    REQUIRE(another.received(request).error().reason == Reason::bad_input);
}

TEST_CASE("one serialised resource is shared by all streams", "[xds]") {
    World world;
    DeltaStream other;
    world.hear(ask(Type::address));
    REQUIRE(other.received(ask(Type::address)));
    auto mine = world.must_next();
    auto theirs = other.next(world.publisher.current());
    REQUIRE(mine.resources[0].get() == theirs->resources[0].get());
}
