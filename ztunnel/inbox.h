// What a link hears: received bytes become plaintext, in place. Sans I/O, a value; belongs to one Link, on
// its loop.
//
// A record cut by the end of a receive waits in `cut_` (at most one record) and is completed and opened
// there; all others are opened where they lie in the shared receive buffer. Plaintext is valid until
// forget(), which the owner calls before it awaits anything.
#pragma once
#include "lib/tls/records.h"

#include <optional>

namespace culvert::ztunnel {

class Inbox {
public:
    explicit Inbox(tls::Opener opener) : opener_(std::move(opener)) {}

    // Takes records from the front of `input` until one says something, or until nothing whole is left: then
    // it is empty, what remained of it is kept, and there is nothing to return.
    std::expected<std::optional<tls::Opened>, tls::Failure> next(Bytes& input);
    void forget() { opened_ = {}; }

    void save(Encoder& to) const;
    static Result<Inbox> load(Decoder& from);

private:
    std::expected<tls::Opened, tls::Failure> open_cut(Bytes& input);

    tls::Opener opener_;
    OutBuffer cut_;     // the beginning of a record
    OutBuffer opened_;  // a completed one, whose plaintext is in use
};

}  // namespace culvert::ztunnel
