// How long to wait before the next try: doubling, with jitter, so that the nodes of a mesh do not come back
// in one wave after the controller was away (W-10). Values; the caller brings chance.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/random.h"

namespace culvert::xds {

class Backoff {
public:
    constexpr Backoff(Duration first, Duration longest) : first_(first), longest_(longest), next_(first) {}

    // The wait before the next try: +-20 % around 1, 2, 4, ... times `first`, at most `longest`.
    Duration next(Random& random);
    void reset() { next_ = first_; }

private:
    Duration first_;
    Duration longest_;
    Duration next_;
};

// X-13 and its deviations: how a stream ended decides when the next may begin.
struct StreamEnd {
    enum class Kind : std::uint8_t {
        connect_failed,  // never reached the server
        going_away,      // the server or the path closed a stream that worked: reconnect soon
        error,           // any other status
        complete,        // a clean end
    };
    Kind kind = Kind::complete;
    int code = 0;  // gRPC status
    std::string text;
};
std::string_view word(StreamEnd::Kind kind);  // M-1: ConnectionError, Reconnect, Error, Complete
StreamEnd stream_end(bool reached, int code, std::string text);

class Reconnect {
public:
    Duration after(const StreamEnd& end, Duration lived, Random& random);

private:
    Backoff backoff_{std::chrono::milliseconds(10), std::chrono::seconds(15)};
};

}  // namespace culvert::xds
