// The server half of ZDS, sans I/O: which packet goes to one ztunnel next, and what its answers mean (wire
// facts Z-1 to Z-8). One message a packet; one request at a time, each answered by exactly one
// acknowledgement. A connection begins with ztunnel's hello; then it gets an Add for every known pod and
// SnapshotSent, then what changes.
//
// A session belongs to one connection and dies with it. It holds one entry per pod: bounded by the pods of
// the node.
#pragma once
#include "agent/enrol.h"
#include "lib/base/bytes.h"
#include "lib/base/result.h"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::agent {

// Longest text that a packet of 1024 bytes (Z-4) carries beside the others; longer names are no Kubernetes
// names.
inline constexpr std::size_t zds_packet_max = 1024;

struct Workload {
    std::string uid;
    std::string name;
    std::string name_space;
    std::string service_account;
    bool operator==(const Workload&) const = default;
};

class ZdsSession {
public:
    enum class Heard : std::uint8_t { hello, acknowledgement };
    struct Outgoing {
        Buffer bytes;
        std::string netns_of;  // uid of the pod whose namespace goes along; empty: no descriptor (Z-4)
    };

    // A packet of ztunnel. An error is a protocol error: close the connection (Z-8, Z-10: anything unasked
    // for is one).
    Result<Heard> received(ConstBytes packet, std::size_t descriptors);

    // After hello: everything that is known. Adds and removals before are not needed.
    void begin(const std::vector<Workload>& known);
    void
    add(const Workload& workload);  // replaces what waits for this uid; asked for again, it is sent again
    void remove(const std::string& uid);

    // What to send now; nothing while an answer is outstanding or there is nothing to say.
    std::optional<Outgoing> next();
    bool awaits_answer() const { return outstanding_.has_value(); }
    bool greeted() const { return greeted_; }
    bool live() const { return live_; }  // the snapshot is acknowledged

    Ack ack(const std::string& uid) const;
    std::string error_of(const std::string& uid) const;  // of a failed one: ztunnel's own words

private:
    enum class Kind : std::uint8_t { add, remove, snapshot_sent };
    struct Request {
        Kind kind = Kind::snapshot_sent;
        Workload workload;
    };
    struct Known {
        Ack ack = Ack::pending;
        std::string error;
    };
    void answered(std::string error);

    std::deque<Request> queue_;  // at most one for a uid, and SnapshotSent
    std::optional<Request> outstanding_;
    std::map<std::string, Known, std::less<>> known_;
    bool greeted_ = false;
    bool live_ = false;
};

}  // namespace culvert::agent
