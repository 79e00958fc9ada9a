#include "ztunnel/certs.h"

#include "lib/base/log.h"

#include <array>
#include <deque>
#include <mutex>
#include <utility>

namespace culvert::ztunnel {

using namespace std::chrono_literals;

namespace {

constexpr Duration look_again =
    10min;  // a wall clock may be set, a machine may have slept: timers are re-read

std::string_view outcome(const Result<std::shared_ptr<const tls::Credential>>& made) {
    return word(made ? Reason::none : made.error().reason);
}

Error unavailable(const Error& cause) { return {Reason::no_certificate, cause.detail, cause.to_string()}; }

}  // namespace

// All of it on the executor, but `lines`.
class Certs::State : public std::enable_shared_from_this<State> {
public:
    enum Priority : std::uint8_t { refresh, warm_up, real_time };  // CA-7

    struct Entry {
        std::shared_ptr<const tls::Credential> credential;
        std::optional<Error> error;      // CA-8: why there is none
        xds::Backoff backoff{1s, 150s};  // CA-10
        std::uint64_t timer = 0;         // the one that counts
        Priority priority = refresh;
        bool wanted = false;  // the directory places it on this node
        bool queued = false;
        std::uint64_t request = 0;  // on its way; 0: none
    };

    State(xds::Executor& executor, xds::CaTransport& ca, Options options, Registry& metrics)
        : executor(executor), ca(ca), options(std::move(options)), metrics(metrics) {}

    void want(const mesh::Identity& identity) {
        Entry* entry = entry_of(identity);
        if (!entry) return;
        entry->wanted = true;
        if (!valid(*entry) && entry->request == 0 && !entry->error) enqueue(identity, *entry, warm_up);
    }
    void urgent(const mesh::Identity& identity) {
        Entry* entry = entry_of(identity);
        if (!entry)
            return tell(
                identity,
                {nullptr, Error{Reason::no_certificate, 0, "too many identities on this node"}, true});
        if (valid(*entry)) return tell(identity, {entry->credential, std::nullopt});
        if (entry->error) return tell(identity, {nullptr, entry->error});  // CA-8: until a retry succeeds
        if (entry->request == 0) enqueue(identity, *entry, real_time);
    }
    void forget(const mesh::Identity& identity) {
        if (entries.erase(identity) == 0) return;
        tell(identity, {});
        show(identity, nullptr);
    }
    void add_loop(const std::weak_ptr<LoopCredentials>& loop) {
        loops.push_back(loop);
        for (const auto& [identity, entry] : entries)
            if (valid(entry) || entry.error) tell_one(loop, identity, {entry.credential, entry.error});
    }

    bool valid(const Entry& entry) const {
        return entry.credential && executor.clock().wall() < entry.credential->not_after();
    }
    // Makes room by letting go of what nobody on this node needs; null: there is none.
    Entry* entry_of(const mesh::Identity& identity) {
        if (auto at = entries.find(identity); at != entries.end()) return &at->second;
        if (entries.size() >= identities_max) {
            auto idle = std::ranges::find_if(entries, [](const auto& each) { return !each.second.wanted; });
            if (idle == entries.end()) return nullptr;
            forget(mesh::Identity(idle->first));
        }
        Entry& entry = entries[identity];
        show(identity, &entry);
        return &entry;
    }

    void enqueue(const mesh::Identity& identity, Entry& entry, Priority priority) {
        if (entry.queued && entry.priority >= priority) return;
        entry.queued = true;
        entry.priority = priority;
        queues[priority].push_back(identity);
        send();
    }
    void send() {
        while (requests < requests_max) {
            const mesh::Identity* next = nullptr;
            for (int priority = real_time; priority >= refresh && !next; --priority) next = head(priority);
            if (!next) return;
            mesh::Identity identity = *next;
            request(identity, entries.find(identity)->second);
        }
    }
    // The first that still waits at this priority: others were bumped, sent or forgotten meanwhile.
    const mesh::Identity* head(int priority) {
        auto& queue = queues[static_cast<std::size_t>(priority)];
        for (; !queue.empty(); queue.pop_front()) {
            auto at = entries.find(queue.front());
            if (at != entries.end() && at->second.queued && at->second.priority == priority)
                return &queue.front();
        }
        return nullptr;
    }

    void request(const mesh::Identity& identity, Entry& entry) {
        entry.queued = false;
        entry.request = ++request_count;
        ++requests;
        Result<tls::PrivateKey> key = tls::PrivateKey::generate();  // CA-3: fresh for each request
        Result<std::string> csr = key ? tls::make_csr(*key, identity) : refuse(Reason::internal);
        if (!csr) return answered(identity, entry.request, refuse(std::move(csr)));
        xds::SignRequest request{*csr, options.ttl,
                                 options.impersonate ? identity.to_string() : std::string()};
        auto take = [weak = weak_from_this(), identity, number = entry.request,
                     key = *std::move(key)](Result<std::vector<std::string>> chain) mutable {
            auto self = weak.lock();
            if (!self) return;
            if (!chain) return self->answered(identity, number, refuse(std::move(chain)));
            self->answered(identity, number,
                           tls::Credential::from_response(std::move(key), *chain, identity,
                                                          self->executor.clock().wall(),
                                                          self->options.profile));
        };
        ca.sign(std::move(request), std::move(take));
    }
    void answered(const mesh::Identity& identity, std::uint64_t number,
                  Result<std::shared_ptr<const tls::Credential>> made) {
        --requests;
        metrics
            .counter("culvert_certificate_requests", "Certificates asked for, by why there is none",
                     {{"reason", std::string(outcome(made))}})
            .add();
        auto at = entries.find(identity);
        if (at != entries.end() && at->second.request == number) {
            at->second.request = 0;
            if (made)
                succeeded(identity, at->second, *std::move(made));
            else
                failed(identity, at->second, made.error());
        }
        send();
    }
    void succeeded(const mesh::Identity& identity, Entry& entry,
                   std::shared_ptr<const tls::Credential> credential) {
        bool other_roots = entry.credential && entry.credential->roots_digest() != credential->roots_digest();
        entry.credential = std::move(credential);
        entry.error.reset();
        tell(identity, {entry.credential, std::nullopt});
        show(identity, &entry);
        if (other_roots && roots_changed)
            roots_changed(identity);  // behind the news: new links use the new roots
        Duration left = entry.credential->refresh_at() - executor.clock().wall();  // CA-9
        if (left > 0ns) {
            entry.backoff.reset();
            return plan(identity, entry, left);
        }
        plan(identity, entry,
             entry.backoff.next(executor.random()));  // a CA whose certificates are old at birth
    }
    void failed(const mesh::Identity& identity, Entry& entry, const Error& cause) {
        Duration wait = entry.backoff.next(executor.random());
        log::warn("certs", "no certificate",
                  {log::text("identity", identity.to_string()), log::text("error", cause.to_string()),
                   log::number("retry_s", static_cast<std::uint64_t>(wait / 1s))});
        if (valid(entry)) {
            wait =
                std::min<Duration>(wait, entry.credential->not_after() - executor.clock().wall());  // CA-10
        } else {
            entry.credential.reset();
            entry.error = unavailable(cause);
            tell(identity, {nullptr, entry.error});
        }
        show(identity, &entry);
        plan(identity, entry, wait);
    }
    void plan(const mesh::Identity& identity, Entry& entry, Duration wait) {
        entry.timer = ++timer_count;
        Duration step = std::min(wait, look_again);
        executor.after(step, [weak = weak_from_this(), identity, number = entry.timer, left = wait - step] {
            if (auto self = weak.lock()) self->due(identity, number, left);
        });
    }
    void due(const mesh::Identity& identity, std::uint64_t number, Duration left) {
        auto at = entries.find(identity);
        if (at == entries.end() || at->second.timer != number) return;
        Entry& entry = at->second;
        // A refresh is planned by wall time and looked at again on the way; a retry is shorter than one step.
        if (left > 0ns && valid(entry) && entry.credential->refresh_at() > executor.clock().wall())
            return plan(identity, entry, entry.credential->refresh_at() - executor.clock().wall());
        // Nobody here needs it, and the CA no longer gives it: let it go with its last certificate.
        if (!entry.wanted && entry.error) return forget(mesh::Identity(identity));
        enqueue(identity, entry, refresh);
    }

    void tell(const mesh::Identity& identity, const LoopCredentials::News& news) {
        std::erase_if(loops, [](const auto& loop) { return loop.expired(); });
        for (const auto& loop : loops) tell_one(loop, identity, news);
    }
    static void tell_one(const std::weak_ptr<LoopCredentials>& to, const mesh::Identity& identity,
                         LoopCredentials::News news) {
        auto loop = to.lock();
        if (!loop) return;
        loop->loop().post_message([to, identity, news = std::move(news)]() mutable {
            if (auto there = to.lock()) there->tell(identity, std::move(news));
        });
    }
    void show(const mesh::Identity& identity, const Entry* entry) {
        std::lock_guard hold(lines_lock);
        if (!entry) {
            lines.erase(identity.to_string());
            return;
        }
        CertificateLine& line = lines[identity.to_string()];
        line.identity = identity.to_string();
        line.credential = entry->credential;
        line.state = entry->credential ? "Available" : "Initializing";
        if (!entry->credential && entry->error) line.state = "Unavailable: " + entry->error->text;
    }

    xds::Executor& executor;
    xds::CaTransport& ca;
    const Options options;
    Registry& metrics;
    std::map<mesh::Identity, Entry> entries;
    std::array<std::deque<mesh::Identity>, 3> queues;  // by priority
    std::size_t requests = 0;                          // on their way
    std::uint64_t request_count = 0;
    std::uint64_t timer_count = 0;
    std::vector<std::weak_ptr<LoopCredentials>> loops;
    std::function<void(const mesh::Identity&)> roots_changed;
    mutable std::mutex lines_lock;
    std::map<std::string, CertificateLine> lines;
};

Certs::Certs(xds::Executor& executor, xds::CaTransport& ca, Options options, Registry& metrics)
    : state_(std::make_shared<State>(executor, ca, std::move(options), metrics)) {}

Certs::~Certs() = default;

void Certs::add_loop(const std::shared_ptr<LoopCredentials>& loop) {
    state_->executor.post([weak = std::weak_ptr(state_), loop = std::weak_ptr(loop)] {
        if (auto state = weak.lock()) state->add_loop(loop);
    });
}

void Certs::want(const mesh::Identity& identity) {
    state_->executor.post([weak = std::weak_ptr(state_), identity] {
        if (auto state = weak.lock()) state->want(identity);
    });
}

void Certs::urgent(const mesh::Identity& identity) {
    state_->executor.post([weak = std::weak_ptr(state_), identity] {
        if (auto state = weak.lock()) state->urgent(identity);
    });
}

void Certs::forget(const mesh::Identity& identity) {
    state_->executor.post([weak = std::weak_ptr(state_), identity] {
        if (auto state = weak.lock()) state->forget(identity);
    });
}

void Certs::on_roots_changed(std::function<void(const mesh::Identity&)> tell) {
    state_->executor.post([weak = std::weak_ptr(state_), tell = std::move(tell)]() mutable {
        if (auto state = weak.lock()) state->roots_changed = std::move(tell);
    });
}

std::vector<CertificateLine> Certs::list() const {
    std::lock_guard hold(state_->lines_lock);
    std::vector<CertificateLine> all;
    all.reserve(state_->lines.size());
    for (const auto& [name, line] : state_->lines) all.push_back(line);
    return all;
}

}  // namespace culvert::ztunnel
