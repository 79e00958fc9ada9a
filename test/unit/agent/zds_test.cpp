// The server half of ZDS, packet by packet, and who may be its ztunnel.
#include "agent/zds.h"
#include "agent/zds_peer.h"
#include "proto/zds.pb.h"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::agent;

namespace {

namespace zds = istio::workload::zds;

Workload workload(const std::string& uid) { return {uid, "web", "shop", "sa"}; }

Buffer bytes_of(const google::protobuf::MessageLite& message) {
    std::string text = message.SerializeAsString();
    ConstBytes view = as_bytes(text);
    return Buffer(view.begin(), view.end());
}

Buffer hello(zds::Version version = zds::V1) {
    zds::ZdsHello message;
    message.set_version(version);
    return bytes_of(message);
}

Buffer ack(const std::string& error = {}) {
    zds::WorkloadResponse message;
    message.mutable_ack()->set_error(error);
    return bytes_of(message);
}

std::string say(const ZdsSession::Outgoing& outgoing) {
    zds::WorkloadRequest request;
    REQUIRE(request.ParseFromArray(outgoing.bytes.data(), static_cast<int>(outgoing.bytes.size())));
    if (request.has_add()) return "add " + request.add().uid();
    if (request.has_del()) return "del " + request.del().uid();
    return request.has_snapshot_sent() ? "snapshot" : "?";
}

std::string next(ZdsSession& session) {
    auto outgoing = session.next();
    return outgoing ? say(*outgoing) : "nothing";
}

ZdsSession greeted(const std::vector<Workload>& known) {
    ZdsSession session;
    REQUIRE(session.received(hello(), 0) == ZdsSession::Heard::hello);
    session.begin(known);
    return session;
}

void acknowledge(ZdsSession& session, const std::string& error = {}) {
    REQUIRE(session.received(ack(error), 0) == ZdsSession::Heard::acknowledgement);
}

}  // namespace

TEST_CASE("nothing is sent before hello of version 1 [Z-2]", "[zds]") {
    ZdsSession session;
    session.add(workload("a"));
    CHECK(next(session) == "nothing");
    CHECK_FALSE(session.received(hello(zds::NOT_USED), 0));
    CHECK_FALSE(ZdsSession().received(ack(), 0));
    CHECK_FALSE(ZdsSession().received(as_bytes("\xff\xff\xff"), 0));
}

TEST_CASE("the snapshot is an Add for every known pod, one at a time, then SnapshotSent [Z-2, Z-5]",
          "[zds]") {
    ZdsSession session = greeted({workload("a"), workload("b")});
    CHECK(next(session) == "add a");
    CHECK(next(session) == "nothing");  // the answer is outstanding
    CHECK(session.awaits_answer());
    acknowledge(session);
    CHECK(session.ack("a") == Ack::ok);
    CHECK(next(session) == "add b");
    acknowledge(session);
    CHECK_FALSE(session.live());
    CHECK(next(session) == "snapshot");
    acknowledge(session);
    CHECK(session.live());
    CHECK(next(session) == "nothing");
}

TEST_CASE(
    "an Add carries uid, name, namespace and account, and asks for its namespace's descriptor [Z-3, Z-4]",
    "[zds]") {
    ZdsSession session = greeted({workload("a")});
    auto outgoing = session.next();
    REQUIRE(outgoing);
    CHECK(outgoing->netns_of == "a");
    zds::WorkloadRequest request;
    REQUIRE(request.ParseFromArray(outgoing->bytes.data(), static_cast<int>(outgoing->bytes.size())));
    CHECK(request.add().workload_info().name() == "web");
    CHECK(request.add().workload_info().namespace_() == "shop");
    CHECK(request.add().workload_info().service_account() == "sa");
    acknowledge(session);
    CHECK(session.next()->netns_of.empty());  // a descriptor on anything but an Add is an error (Z-4)
}

TEST_CASE("the longest names of Kubernetes fit into a packet [Z-4]", "[zds]") {
    Workload longest{std::string(63, 'n') + "/" + std::string(253, 'p') + "@18446744073709551615",
                     std::string(253, 'p'), std::string(63, 'n'), std::string(253, 's')};
    ZdsSession session = greeted({longest});
    CHECK(session.next()->bytes.size() <= zds_packet_max);
}

TEST_CASE("a nack is remembered with ztunnel's words, and a second Add may succeed [Z-7]", "[zds]") {
    ZdsSession session = greeted({workload("a")});
    next(session);
    acknowledge(session, "failure to start proxy : port taken");
    CHECK(session.ack("a") == Ack::failed);
    CHECK(session.error_of("a") == "failure to start proxy : port taken");
    session.add(workload("a"));
    CHECK(session.ack("a") == Ack::pending);
    CHECK(next(session) == "snapshot");
    acknowledge(session);
    CHECK(next(session) == "add a");
    acknowledge(session);
    CHECK(session.ack("a") == Ack::ok);
}

TEST_CASE("a removal replaces an Add that still waits, and forgets the pod [Z-6]", "[zds]") {
    ZdsSession session = greeted({workload("a"), workload("b")});
    next(session);  // a is on its way
    session.remove("b");
    acknowledge(session);
    CHECK(next(session) == "snapshot");
    acknowledge(session);
    CHECK(next(session) == "del b");
    acknowledge(session);
    CHECK(session.ack("b") == Ack::none);
}

TEST_CASE("asked again, ztunnel gets Del then Add, and an old answer does not count [Z-6]", "[zds]") {
    ZdsSession session = greeted({});
    next(session);
    acknowledge(session);
    session.add(workload("a"));
    CHECK(next(session) == "add a");
    session.remove("a");
    session.add(workload("a"));
    acknowledge(session);  // of the first Add
    CHECK(session.ack("a") == Ack::pending);
    CHECK(next(session) == "del a");
    acknowledge(session);
    CHECK(next(session) == "add a");
    acknowledge(session);
    CHECK(session.ack("a") == Ack::ok);
}

TEST_CASE(
    "what nobody asked for is a protocol error: an ack of nothing, a descriptor, a second hello [Z-8, Z-10]",
    "[zds]") {
    ZdsSession session = greeted({});
    CHECK_FALSE(session.received(ack(), 0));
    ZdsSession other = greeted({workload("a")});
    next(other);
    CHECK_FALSE(other.received(ack(), 1));
    CHECK_FALSE(other.received(hello(), 0));  // no acknowledgement
    CHECK_FALSE(other.received(as_bytes("garbage"), 0));
}

TEST_CASE("only the expected program of the expected user in the expected group is our ztunnel [S9]",
          "[zds]") {
    ExpectedPeer expected{0, "/usr/bin/ztunnel", "/culvert-ztunnel", false};
    PeerFacts peer{42, 0, "/usr/bin/ztunnel", "/culvert-ztunnel"};
    CHECK(judge(peer, expected) == PeerVerdict::accept);
    SECTION("another user") {
        peer.uid = 1000;
        CHECK_FALSE(judge(peer, expected));
    }
    SECTION("another program, whatever group it got into") {
        peer.program = "/tmp/ztunnel";
        CHECK_FALSE(judge(peer, expected));
    }
    SECTION("the root of cgroup2 is everyone's") {
        peer.group = "/";
        CHECK_FALSE(judge(peer, expected));
    }
    SECTION("a group below or beside") {
        peer.group = GENERATE("/culvert-ztunnel/x", "/culvert-ztunnel2", "/pods/p1");
        CHECK_FALSE(judge(peer, expected));
    }
    SECTION("standalone it is moved, from the root too, but only the right program") {
        expected.move = true;
        peer.group = GENERATE("/", "/user/session");
        CHECK(judge(peer, expected) == PeerVerdict::move);
        peer.program = "/tmp/ztunnel";
        CHECK_FALSE(judge(peer, expected));
    }
    SECTION("any program of our user, if told so") {
        expected.program.clear();
        peer.program = "/tmp/ztunnel";
        CHECK(judge(peer, expected) == PeerVerdict::accept);
    }
}
