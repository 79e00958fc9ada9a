#include "ztunnel/link.h"

#include "lib/tls/credentials.h"
#include "ztunnel/shard.h"
#include "ztunnel/tunnel.h"

#include <algorithm>

namespace culvert::ztunnel {

namespace {

// After close_notify the peer gets this long to close as well; leaving with unread bytes would be a RST that
// takes back what we said last.
constexpr Duration tick_every = std::chrono::seconds(1);  // lib/h2/tunnel.h
constexpr Duration farewell = std::chrono::seconds(5);

// What waits for the socket of a link that is better left to whoever fills it.
constexpr std::size_t busy_unsent = 64 << 10;

h2::Settings settings_for(h2::Role role, const Settings& settings) {
    h2::Settings result = role == h2::Role::client ? h2::client_settings() : h2::server_settings();
    auto streams = role == h2::Role::client ? settings.streams_per_link_max : settings.accepted_streams_max;
    // From the environment (wire.md 8.1): a number out of range must not stop the process.
    result.streams_max = static_cast<std::uint32_t>(std::clamp<std::size_t>(streams, 1, h2::streams_limit));
    return result;
}

}  // namespace

Link::Values Link::values_of(Shard& shard, h2::Role role, tls::Established established) {
    return {h2::Engine(role, settings_for(role, shard.settings())),
            Inbox(tls::Opener(std::move(established.read))),
            Outbox(tls::Sealer(std::move(established.write)), shard.shelf()), std::move(established.peer)};
}

Link::Link(Shard& shard, h2::Role role, Secured secured)
    : Link(shard, std::move(secured.socket), std::move(secured.credential),
           values_of(shard, role, std::move(secured.established))) {
    early_ = std::move(secured.early);
}

Link::Link(Shard& shard, io::Socket socket, std::shared_ptr<const tls::Credential> credential, Values values)
    : shard_(shard), scope_(shard.loop()), socket_(std::move(socket)), engine_(std::move(values.engine)),
      inbox_(std::move(values.inbox)), outbox_(std::move(values.outbox)), changed_(shard.loop()),
      peer_(std::move(values.peer)), credential_(std::move(credential)) {
    Instant now = shard.loop().now();
    WallTime until = std::min(credential_->not_after(), peer_.not_after);
    Duration left = std::max(until - shard.loop().clock().wall(), Duration::zero());
    expires_ = now + left;
    retires_ = now + left / 2;  // so that no tunnel begins shortly before the end
    ping_at_ = now + shard.settings().ping_every;
}

Link::~Link() {
    check(rows_.empty());
    shard_.count_held(0, counted_);
    shard_.loop().disarm(*this);
    shard_.loop().forget(*this);
}

const mesh::Identity& Link::own_identity() const { return credential_->identity(); }

bool Link::busy() { return outbox_.unsent() >= busy_unsent || meter_.busy(shard_.loop().now()); }

void Link::start() {
    want_flush();  // the engine's preface and SETTINGS
    schedule();
    // A link that was handed over may have more to say than its socket took.
    if (outbox_.stalled() && !scope_.start(write())) return end(Reason::limit);
    if (!scope_.start(receive())) end(Reason::limit);
}

io::Task<Result<Done>> Link::ready() {
    while (!ended() && !paused_ && !engine_.peer_ready()) {
        auto woken = co_await changed_.wait();
        if (!woken && !paused_) end(Reason::cancelled);
    }
    if (ended()) co_return refuse(ended_);
    if (paused_) co_return refuse(Reason::cancelled);
    co_return Done{};
}

bool Link::usable() const {
    return !ended() && !closing_ && engine_.can_connect() && shard_.loop().now() < retires_;
}

Result<Done> Link::open(Tunnel& tunnel, const h2::ConnectRequest& request) {
    if (ended()) return refuse(ended_);
    TRY(h2::StreamId stream, engine_.connect(request));
    carried_ = true;
    rows_.push_back({stream, &tunnel});  // a client's streams only grow
    tunnel.attach(*this, stream, true);
    want_flush();
    return Done{};
}

void Link::detach(Tunnel& tunnel) {
    std::erase(waiting_, &tunnel);
    std::erase_if(rows_, [&tunnel](const Row& row) { return row.tunnel == &tunnel; });
    close_if_drained();
    if (ended()) changed_.set();
}

// ---- accepted links ----

io::Task<Result<h2::StreamId>> Link::next_request() {
    for (;;) {
        if (offered_ < requests_.size()) co_return requests_[offered_++].stream;
        if (ended()) co_return refuse(ended_);
        if (paused_) co_return refuse(Reason::cancelled);
        auto woken = co_await changed_.wait();
        if (!woken && !paused_) end(Reason::cancelled);
    }
}

std::optional<h2::ConnectRequest> Link::take_request(h2::StreamId stream, Tunnel& tunnel) {
    auto at = std::ranges::find(requests_, stream, &Waiting::stream);
    if (at == requests_.end() || ended()) return std::nullopt;  // reset meanwhile
    Waiting waiting = std::move(*at);
    requests_.erase(at);
    // What a burst of CONNECTs took, 200 B each, is not kept for the life of the link.
    if (requests_.empty()) std::vector<Waiting>().swap(requests_);
    --offered_;
    rows_.insert(std::ranges::upper_bound(rows_, stream, {}, &Row::stream), {stream, &tunnel});
    tunnel.attach(*this, stream, false);
    const ConstBytes early = waiting.early;
    if (!early.empty()) tunnel.on_bytes(std::span(&early, 1));
    if (waiting.end) tunnel.on_end();
    return std::move(waiting.request);
}

void Link::respond(h2::StreamId stream, const h2::ConnectResponse& response) {
    if (ended()) return;
    engine_.respond(stream, response);
    want_flush();
}

// ---- ends ----

void Link::drain() {
    if (ended() || closing_) return;
    if (engine_.role() == h2::Role::server)
        engine_.drain();
    else
        engine_.goaway(h2::Code::no_error);
    want_flush();
    close_if_drained();
}

// After our GOAWAY or the peer's, with the last tunnel gone: close_notify, FIN, and read until the peer
// closes.
void Link::close_if_drained() {
    if (ended() || closing_ || paused_ || !rows_.empty() || !requests_.empty()) return;
    if (engine_.streams() != 0) return;
    bool client_done = engine_.role() == h2::Role::client && engine_.going_away();
    if (client_done && !engine_.drained()) engine_.goaway(h2::Code::no_error);
    if (!engine_.drained()) return;
    take_control();
    outbox_.alert(tls::Alert::close_notify);
    closing_ = true;
    want_flush();
    schedule();
}

void Link::end(Reason why) {
    if (ended()) return;
    shard_.delivery().flush();  // what came before the end still goes to the apps
    ended_ = why;
    if (!closing_ && !outbox_.stalled()) say_goodbye(why);
    for (const Row& row : rows_) row.tunnel->on_reset(why == Reason::closed ? Reason::truncated : why);
    requests_.clear();
    offered_ = 0;
    shard_.loop().disarm(*this);
    scope_.cancel();
    changed_.set();
}

// One send that does not wait: whoever does not hear it sees the TCP connection end.
void Link::say_goodbye(Reason why) {
    if (!engine_.failed() && why != Reason::tls_record) engine_.goaway(h2::Code::no_error);
    take_control();
    outbox_.alert(why == Reason::tls_record ? alert_ : tls::Alert::close_notify);
    (void)socket_.try_send(outbox_.sealed());
}

// ---- time ----

void Link::schedule() {
    if (ended() || paused_) return;
    Instant next = std::min(expires_, ping_at_);
    if (ticking_) next = std::min(next, tick_at_);
    if (closing_) next = shard_.loop().now() + farewell;
    shard_.loop().disarm(*this);
    shard_.loop().arm(*this, next);
}

void Link::due() {
    Instant now = shard_.loop().now();
    if (closing_) return end(Reason::closed);
    if (now >= expires_) return end(Reason::certificate_expired);
    if (ticking_ && now >= tick_at_) {
        engine_.tick();
        ticking_ = engine_.tick_wanted();
        tick_at_ = now + tick_every;
    }
    if (now >= ping_at_) {
        if (pinging_) return end(Reason::timed_out);
        pinging_ = true;
        engine_.ping(++pings_);
        ping_at_ = now + shard_.settings().ping_timeout;
    }
    if (!engine_.output().empty()) want_flush();
    schedule();
}

// An engine that wants ticks gets its first one in a second.
void Link::tick_if_wanted() {
    if (ticking_ || ended() || closing_ || !engine_.tick_wanted()) return;
    ticking_ = true;
    tick_at_ = shard_.loop().now() + tick_every;
    schedule();
}

}  // namespace culvert::ztunnel
