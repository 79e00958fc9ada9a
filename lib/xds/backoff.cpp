#include "lib/xds/backoff.h"

#include <algorithm>
#include <utility>

namespace culvert::xds {

namespace {
constexpr int unavailable = 14;  // gRPC status codes
constexpr int cancelled = 1;
constexpr int unknown = 2;
constexpr int deadline_exceeded = 4;
}  // namespace

Duration Backoff::next(Random& random) {
    Duration base = next_;
    next_ = std::min(base * 2, longest_);
    // 0.8 to 1.2 of it; the spread of one wait is wider than what separates two nodes that lost one
    // controller.
    auto spread = random.below(static_cast<std::uint64_t>(base.count()) * 2 / 5 + 1);
    return std::min(base * 4 / 5 + Duration(static_cast<std::int64_t>(spread)), longest_);
}

std::string_view word(StreamEnd::Kind kind) {
    switch (kind) {
    case StreamEnd::Kind::connect_failed: return "ConnectionError";
    case StreamEnd::Kind::going_away: return "Reconnect";
    case StreamEnd::Kind::error: return "Error";
    case StreamEnd::Kind::complete: return "Complete";
    }
    return {};
}

StreamEnd stream_end(bool reached, int code, std::string text) {
    using Kind = StreamEnd::Kind;
    Kind kind = Kind::error;
    if (code == 0)
        kind = Kind::complete;
    else if (code == unavailable && !reached)
        kind = Kind::connect_failed;
    else if (code == unknown || code == cancelled || code == deadline_exceeded || code == unavailable)
        kind = Kind::going_away;
    return {kind, code, std::move(text)};
}

Duration Reconnect::after(const StreamEnd& end, Duration lived, Random& random) {
    // A stream that worked pays for earlier failures: at once when its end was nobody's fault, after
    // as long as the longest wait otherwise (W-10). Below a second nothing worked: a server that takes every
    // stream and ends it at once must not be hammered.
    bool clean = end.kind == StreamEnd::Kind::complete || end.kind == StreamEnd::Kind::going_away;
    if (lived >= (clean ? std::chrono::seconds(1) : std::chrono::seconds(15))) backoff_.reset();
    return backoff_.next(random);
}

}  // namespace culvert::xds
