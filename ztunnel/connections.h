// The live connections of a loop: who talks to whom, over what. A Connection stands in the frame of the coroutine that serves
// it and is in the registry as long as it lives; the registry owns nothing. Read by /config_dump and the cli through list(),
// walked when a directory change may have withdrawn a permission.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/reason.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::ztunnel {

class PodView;

enum class Direction : std::uint8_t { outbound, inbound };
enum class Protocol : std::uint8_t { unknown, tcp, hbone };  // unknown: not decided yet
std::string_view word(Direction direction);                  // "outbound", "inbound"
std::string_view word(Protocol protocol);                    // "TCP", "HBONE"

class Connection {
public:
    Connection(PodView& pod, Direction direction);
    ~Connection();
    Connection(const Connection&) = delete;

    // Ends it from outside, as `why`; what runs for it returns soon after. Idempotent.
    virtual void cut(Reason why) = 0;

    PodView& pod;
    Address source;                // the app, or the peer of the link
    Address original_destination;  // what the app asked for; inbound: the accepted address
    Address next_hop;              // where the bytes go: peer ip:15008, or the app
    Instant opened;
    Direction direction;
    Protocol protocol = Protocol::unknown;

private:
    friend class Connections;
    Connection* before_ = nullptr;
    Connection* after_ = nullptr;
};

// One line of /config_dump's workloadState and of `culvert ztunnel-config connections`.
struct ConnectionLine {
    std::string pod_uid;
    Direction direction{};
    Address source, original_destination, next_hop;
    Protocol protocol{};
};

class Connections {
public:
    std::size_t size() const { return size_; }
    std::vector<ConnectionLine> list() const;

private:
    friend class Connection;
    Connection* first_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace culvert::ztunnel
