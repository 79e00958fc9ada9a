// A link as a value: stopped, written down, and read by a successor (S23).
#include "lib/tls/credentials.h"
#include "ztunnel/link.h"
#include "ztunnel/shard.h"

#include <algorithm>
#include <array>

namespace culvert::ztunnel {

namespace {

// What a request says, in the order in which it is written.
template <class Request> auto fields_of(Request& request) {
    return std::array{&request.method,    &request.authority,   &request.baggage,
                      &request.forwarded, &request.traceparent, &request.x_forwarded_network};
}

}  // namespace

// What its operations had done already still arrives while they join: hear() and write() keep it.
bool Link::pause() {
    if (ended() || closing_) return false;
    paused_ = true;
    shard_.loop().disarm(*this);
    scope_.cancel();
    changed_.set();
    return true;
}

void Link::save(Encoder& to) {
    check(paused_ && !ended() && scope_.children() == 0);
    take_control();
    outbox_.seal();
    engine_.save(to);
    inbox_.save(to);
    outbox_.save(to);
    peer_.save(to);
    to.number(pings_);
    to.number(static_cast<std::uint8_t>(pinging_));
    to.number(static_cast<std::uint32_t>(requests_.size()));
    for (const Waiting& each : requests_) {
        to.number(each.stream);
        for (const std::string* field : fields_of(each.request)) to.text(*field);
        to.bytes(each.early);
        to.number(static_cast<std::uint8_t>(each.end));
    }
}

Result<std::unique_ptr<Link>> Link::load(Decoder& from, Shard& shard, io::Socket socket,
                                         std::shared_ptr<const tls::Credential> credential) {
    TRY(h2::Engine engine, h2::Engine::load(from));
    TRY(Inbox inbox, Inbox::load(from));
    TRY(Outbox outbox, Outbox::load(from, shard.shelf()));
    TRY(tls::PeerIdentity peer, tls::PeerIdentity::load(from));
    Values values{std::move(engine), std::move(inbox), std::move(outbox), std::move(peer)};
    std::unique_ptr<Link> link(new Link(shard, std::move(socket), std::move(credential), std::move(values)));
    link->pings_ = from.number<std::uint64_t>();
    link->pinging_ = from.number<std::uint8_t>() != 0;
    if (link->pinging_) link->ping_at_ = shard.loop().now() + shard.settings().ping_timeout;
    for (auto left = from.number<std::uint32_t>(); left > 0 && from.ok(); --left) {
        Waiting& waiting = link->requests_.emplace_back();
        waiting.stream = from.number<h2::StreamId>();
        for (std::string* field : fields_of(waiting.request)) *field = from.text();
        append(waiting.early, from.bytes());
        waiting.end = from.number<std::uint8_t>() != 0;
    }
    if (!from.ok()) return refuse(Reason::bad_input);
    return link;
}

void Link::adopt(h2::StreamId stream, Tunnel& tunnel) {
    rows_.insert(std::ranges::upper_bound(rows_, stream, {}, &Row::stream), {stream, &tunnel});
}

}  // namespace culvert::ztunnel
