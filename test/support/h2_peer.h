// One end of a link without its socket: an engine, the bytes that wait to travel, and what came over each
// tunnel. Payload is a pattern of stream, offset and direction, so that a byte that is lost, doubled or moved
// is seen at once.
#pragma once
#include "lib/h2/tunnel.h"
#include "test/support/h2_wire.h"

#include <map>
#include <string>
#include <vector>

namespace culvert::test {

struct H2Tunnel {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::uint64_t unread = 0;  // received and not yet consumed by the app
    bool opened = false;       // 200 sent or received
    bool end_sent = false;
    bool ended = false;  // END_STREAM came
    bool reset = false;  // gone by any other way, ours or theirs
    bool retry = false;
    int status = 0;  // client: of the response
    h2::Code code = h2::Code::no_error;
};

class H2Peer {
public:
    explicit H2Peer(h2::Role role)
        : H2Peer(role, role == h2::Role::client ? h2::client_settings() : h2::server_settings()) {}
    H2Peer(h2::Role role, const h2::Settings& settings) : engine(role, settings) {}

    h2::Engine engine;
    Buffer wire;
    std::map<h2::StreamId, H2Tunnel> tunnels;
    std::vector<std::string> log;  // events other than data, window and settings
    bool reads = true;             // the apps take bytes as they come
    bool accepts = true;           // server: every CONNECT is answered with 200 at once
    bool intact = true;            // every byte came once and in order
    std::string error;

    h2::StreamId connect(std::string_view authority = "a:80");  // 0: refused
    // As much of `size` as is allowed, in frames of at most `frame`; `end` goes with the last byte. The bytes
    // that went.
    std::size_t send(h2::StreamId stream, std::size_t size, bool end = false,
                     std::size_t frame = h2::data_max);
    void reset(h2::StreamId stream, h2::Code code);
    void read(h2::StreamId stream, std::size_t size);  // the app takes bytes
    void flush();                                      // control frames join the wire
    // Gives `bytes` to the engine; what it did not take is left over by the caller (only after an error).
    void take(ConstBytes bytes);

private:
    void on(const h2::Event& event);
    std::byte pattern(h2::StreamId stream, std::uint64_t at, bool ours) const;
};

// Everything that is under way in either direction arrives, again and again until both are silent.
void h2_settle(H2Peer& a, H2Peer& b);

}  // namespace culvert::test
