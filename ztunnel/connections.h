// The live connections of a loop: who talks to whom, over what, and how it went.
//
// A Connection stands in the frame of the coroutine that serves it; the registry owns nothing. All work for
// it runs in its scope, so that cut() ends it whatever it waits for. The registry is read by /config_dump and
// the cli through list(), and walked when a directory change may have withdrawn a permission. One
// loop's thread only. Bounds: Settings::sockets_max per pod and loop.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"
#include "lib/io/scope.h"
#include "lib/io/socket.h"
#include "ztunnel/telemetry.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::mesh {
struct Identity;
}

namespace culvert::ztunnel {

class PodView;

enum class Protocol : std::uint8_t { unknown, tcp, hbone };  // unknown: not decided yet
std::string_view word(Protocol protocol);                    // "TCP", "HBONE"

class Connection {
public:
    Connection(PodView& pod, Direction direction);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Ends it as `why`: every wait in its scope returns. The first reason counts.
    void cut(Reason why);
    // Why a wait of its was cancelled: what cut() said, or that the pod or the process ends.
    Reason cut_reason() const { return cut_ == Reason::none ? Reason::cancelled : cut_; }

    // Bytes that went towards the peer (sent) or came from it (received), counted while they flow (M-4).
    void count_sent(std::size_t bytes);
    void count_received(std::size_t bytes);
    // Bytes in memory that one side sent and the other has not taken. False: too many in all, and this
    // connection, which adds to them, is to end as Reason::limit (S18).
    [[nodiscard]] bool holds(std::size_t bytes);
    std::uint64_t sent_bytes() const { return sent_bytes_; }
    std::uint64_t received_bytes() const { return received_bytes_; }

    // The sockets from which nobody reads, or not always, so that shard.h looks for their end. They stay
    // where they are until the next call.
    void watch(const io::Socket* app, const io::Socket* other = nullptr) { app_ = app, other_ = other; }
    bool broken() const { return is_broken(app_) || is_broken(other_); }

    // From here on it has labels: it counts as opened, and its end is one access line. Before that an end is
    // an early failure: a warning and the refusal counter only (L-1, M-8).
    void opened(FlowRef flow);
    const Flow* flow() const { return flow_.get(); }
    // Its bytes flow: what its beginning needed is gone. Idempotent; begun() says it, too.
    void settled();
    // Keeps why it never began, until ended().
    void begun(const Result<Done>& how);
    // Its one line and its closing counters; Reason::none is a clean end. Called once, by whoever serves it.
    void ended(Reason how);

    PodView& pod;
    io::Scope scope;
    Address source;                               // the app, or whom the peer proxy's connection comes from
    Address original_destination;                 // what the app asked for; inbound: the accepted address
    Address next_hop;                             // where the bytes go: the peer's ip:15008, or the app
    Address authority;                            // of HBONE; port 0: none
    std::unique_ptr<std::string> authority_name;  // of HBONE, if it is a host name
    const mesh::Identity* peer = nullptr;         // inbound: proven by mTLS; the link keeps it
    Instant since;
    Direction direction;
    Protocol protocol = Protocol::unknown;

private:
    friend class Connections;
    static bool is_broken(const io::Socket* socket) { return socket && socket->open() && socket->broken(); }
    const io::Socket* app_ = nullptr;
    const io::Socket* other_ = nullptr;
    Connection* before_ = nullptr;
    Connection* after_ = nullptr;
    FlowRef flow_;
    std::unique_ptr<Error> refusal_;
    std::uint64_t sent_bytes_ = 0;
    std::uint64_t received_bytes_ = 0;
    std::size_t held_ = 0;
    Reason cut_ = Reason::none;
    bool settled_ = false;
};

// One line of /config_dump's workloadState and of `culvert ztunnel-config connections`.
struct ConnectionLine {
    std::string pod_uid;
    Direction direction{};
    Address source;
    Address original_destination;
    Address next_hop;
    Protocol protocol{};
};

class Connections {
public:
    Connections() = default;
    ~Connections() { check(size_ == 0); }
    Connections(const Connections&) = delete;

    std::size_t size() const { return size_; }
    std::vector<ConnectionLine> list() const;
    // `visit` may cut, never destroy.
    template <class Visit> void for_each(Visit&& visit) const {
        for (Connection* each = first_; each; each = each->after_) visit(*each);
    }

private:
    friend class Connection;
    void add(Connection& connection);
    void remove(Connection& connection);
    Connection* first_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace culvert::ztunnel
