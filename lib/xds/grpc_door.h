// The door before gRPC's port: accepts connections itself and hands them over, so that callers who have
// proven nothing yet are bounded in number and time. gRPC 1.51 has no bound of its own, and a lack of
// descriptors in its accept ends its listening for good (grpc/grpc 20418). Private to lib/xds.
//
// A connection is proven by its first call with a good token. Until then it is one of at most
// `unproven_max`, the oldest of which makes room for a new one, and is cut after `unproven_wait`. The door
// sees a connection end by a duplicate of its descriptor, which is hung up when gRPC shuts the socket down.
//
// A thread of its own; proven() from any thread. Bounds: docs/limits.md, xds.connections and xds.unproven.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/fd.h"
#include "lib/base/metrics.h"
#include "lib/base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace culvert::xds {

struct DoorOptions {
    std::string listen;  // "host:port"; port 0: any
    std::size_t connections_max = 16'384;
    std::size_t unproven_max = 2'048;
    Duration unproven_wait{};
};

class Door {
public:
    // Refusals: io; the text names the fix.
    static Result<std::unique_ptr<Door>> open(DoorOptions options, Registry& metrics);
    ~Door();
    Door(const Door&) = delete;

    // `enter` gets each connection on the door's thread, and owns it from then on.
    void start(std::function<void(Fd)> enter);
    void close();  // nobody comes in any more; who is in stays
    std::uint16_t port() const;
    // `peer`: as gRPC names it, "ipv4:10.0.0.1:4711".
    void proven(std::string_view peer);

private:
    struct Inside;
    explicit Door(std::unique_ptr<Inside> inside);
    std::unique_ptr<Inside> inside_;
};

}  // namespace culvert::xds
