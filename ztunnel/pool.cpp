#include "ztunnel/pool.h"

#include "lib/tls/credentials.h"
#include "ztunnel/dial.h"
#include "ztunnel/greeting.h"
#include "ztunnel/pod_view.h"

#include <algorithm>

namespace culvert::ztunnel {

namespace {

// How often idle links are looked for, as a part of idle_release.
constexpr int looks_per_release = 10;
// A peer that lets us in and then takes no tunnel is not dialled for ever on one app's behalf.
constexpr int barren_dials_max = 2;

}  // namespace

Pool::Pool(PodView& pod) : pod_(pod), lives_(pod.shard().loop()), dials_(pod.shard().loop()) {}

Pool::~Pool() {
    check(links_ == 0);
    lives_.loop().disarm(*this);
}

Pool::Waiter::Waiter(io::Loop& loop, std::vector<Waiter*>& list) : waiters(list), woken(loop) {
    waiters.push_back(this);
}
Pool::Waiter::~Waiter() { std::erase(waiters, this); }

Pool::Use::Use(Pool& of, const Hop& hop) : pool(of), found(*of.groups_.try_emplace(hop).first) {
    ++found.second.users;
}
Pool::Use::~Use() {
    --found.second.users;
    pool.drop_if_unused(found);
}

io::Task<Result<Done>> Pool::open(const Hop& hop, Tunnel& tunnel, const h2::ConnectRequest& request) {
    Use use(*this, hop);
    Found& found = use.found;
    for (int barren = 0;;) {
        if (closed_) co_return refuse(Reason::draining);
        Link* link = best(found.second);
        if (link && (!link->busy() || !may_dial(found.second))) co_return link->open(tunnel, request);
        Result<Done> dialled = start_dial(found);
        if (dialled) dialled = co_await wait_for_dial(found);
        if (dialled && (!newest_is_barren(found.second) || ++barren < barren_dials_max)) continue;
        if (dialled) dialled = refuse(Reason::h2_going_away);
        // A further link failed: better a busy one than none.
        link = best(found.second);
        if (!link || dialled.error().reason == Reason::cancelled) co_return dialled;
        co_return link->open(tunnel, request);
    }
}

io::Task<Result<Done>> Pool::wait_for_dial(Found& found) {
    Waiter waiter(lives_.loop(), found.second.waiters);
    CO_TRY_DONE(co_await waiter.woken.wait());
    co_return waiter.dialled;
}

// The fullest one that is not busy: links are to be few. If all are busy, the emptiest.
Link* Pool::best(Group& group) const {
    Link* quiet = nullptr;
    Link* any = nullptr;
    for (Entry& entry : group.entries) {
        Link* link = entry.link.get();
        if (!link->usable()) continue;
        if (!any || link->streams() < any->streams()) any = link;
        if (!link->busy() && (!quiet || link->streams() > quiet->streams())) quiet = link;
    }
    return quiet ? quiet : any;
}

bool Pool::newest_is_barren(const Group& group) {
    return group.entries.empty() ||
           (!group.entries.back().link->usable() && !group.entries.back().link->carried());
}

bool Pool::may_dial(const Group& group) const {
    return group.entries.size() < pod_.shard().settings().links_per_key_max &&
           links_ < pod_.shard().settings().dialled_links_max;
}

Result<Done> Pool::start_dial(Found& found) {
    if (found.second.dialling) return Done{};
    if (links_ >= pod_.shard().settings().dialled_links_max) return refuse(Reason::limit);
    if (!lives_.start(live(found))) return refuse(Reason::limit);
    ++links_;
    found.second.dialling = true;
    return Done{};
}

// The life of a dialled link: reached, used, ended, forgotten.
io::Task<void> Pool::live(Found& found) {
    Group& group = found.second;
    auto dialling = dial(found.first);
    auto made = co_await dials_.run(std::move(dialling));
    if (made) {
        Link* link = made->get();
        group.entries.push_back({std::move(*made), lives_.loop().now()});
        if (closed_) link->drain();
        look_later();
        dialled(group, Done{});
        while (!link->over()) {
            auto changed = co_await link->change();
            // The pool outlives its pod's connections (pod_view.cpp): nobody is in the link who would lose
            // it.
            if (!changed) link->end(Reason::cancelled);
        }
        co_await link->join();
        std::erase_if(group.entries, [link](const Entry& entry) { return entry.link.get() == link; });
    } else {
        dialled(group, refuse(std::move(made)));
    }
    --links_;
    drop_if_unused(found);
}

void Pool::dialled(Group& group, const Result<Done>& how) {
    group.dialling = false;
    for (Waiter* waiter : group.waiters) {
        waiter->dialled = how;
        waiter->woken.set();
    }
}

io::Task<Result<std::unique_ptr<Link>>> Pool::dial(const Hop& hop) {
    Shard& shard = pod_.shard();
    io::Loop& loop = shard.loop();
    CO_TRY(Secured secured, co_await secure(hop));
    auto link = std::make_unique<Link>(shard, h2::Role::client, std::move(secured));
    link->start();
    auto settled = link->ready();
    auto ready = co_await io::within(loop, shard.settings().handshake, std::move(settled));
    if (ready && !link->usable())
        ready = refuse(Reason::h2_going_away);  // SETTINGS or GOAWAY allow no tunnel
    if (ready) co_return link;
    link->end(ready.error().reason);
    co_await link->join();
    co_return refuse(std::move(ready));
}

io::Task<Result<Secured>> Pool::secure(const Hop& hop) {
    Shard& shard = pod_.shard();
    io::Loop& loop = shard.loop();
    CO_TRY(auto credential, co_await shard.credential(hop.identity));
    CO_TRY(io::Socket socket, co_await ztunnel::dial(pod_, hop.to));
    auto handshake = shard.handshakes().client(credential, hop.accepted, loop.clock().wall());
    auto greeted = greet({std::move(socket), std::move(handshake), std::move(credential)});
    co_return co_await io::within(loop, shard.settings().handshake, std::move(greeted));
}

void Pool::drop_if_unused(Found& found) {
    if (found.second.unused()) groups_.erase(groups_.find(found.first));
}

void Pool::drain() {
    closed_ = true;
    for (auto& [hop, group] : groups_) {
        for (Entry& entry : group.entries) entry.link->drain();
    }
}

void Pool::end(Reason why) {
    closed_ = true;
    for (auto& [hop, group] : groups_) {
        for (Entry& entry : group.entries) entry.link->end(why);
    }
    dials_.cancel();
}

void Pool::end_links_of(const mesh::Identity& identity, Reason why) {
    for (auto& [hop, group] : groups_) {
        if (hop.identity != identity) continue;
        for (Entry& entry : group.entries) entry.link->end(why);
    }
}

void Pool::look_later() {
    if (armed()) return;
    lives_.loop().arm(*this, lives_.loop().now() + pod_.shard().settings().idle_release / looks_per_release);
}

// A look at every link: the clock of idleness starts at the first look that finds it empty.
void Pool::due() {
    const Settings& settings = pod_.shard().settings();
    Instant now = lives_.loop().now();
    for (auto& [hop, group] : groups_) {
        for (Entry& entry : group.entries) {
            if (entry.link->streams() != 0)
                entry.idle_since = now;
            else if (now - entry.idle_since >= settings.idle_release)
                entry.link->drain();
        }
    }
    if (links_ != 0) look_later();
}

std::size_t Pool::Hash::operator()(const Hop& hop) const noexcept {
    return std::hash<Address>()(hop.to) * 31 + std::hash<Ip>()(hop.source);
}

}  // namespace culvert::ztunnel
