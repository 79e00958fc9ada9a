// Certificates of the identities of this node (CA-7 to CA-12): one for each identity, shared by all its pods;
// refreshed at half its life; asked for when somebody waits, or beforehand for workloads that the directory
// places on this node.
//
// Certs lives on its executor and talks to the CA; every loop has a LoopCredentials with its own table of
// what is valid, filled by messages, so that the data path takes no lock. At most requests_max requests are
// on their way; identities are bounded by identities_max (docs/limits.md).
#pragma once
#include "lib/base/metrics.h"
#include "lib/io/scope.h"
#include "lib/tls/credentials.h"
#include "lib/xds/backoff.h"
#include "lib/xds/executor.h"
#include "lib/xds/transport.h"
#include "ztunnel/shard.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace culvert::ztunnel {

// A line of /config_dump's certificates.
struct CertificateLine {
    std::string identity;
    std::string state;                                  // "Available", "Initializing", "Unavailable: <err>"
    std::shared_ptr<const tls::Credential> credential;  // null: none yet
};

class LoopCredentials;

class Certs {
public:
    struct Options {
        std::chrono::seconds ttl = std::chrono::hours(24);  // SECRET_TTL
        bool impersonate = true;                            // shared mode (CA-2)
        tls::Profile profile{};
    };
    static constexpr std::size_t requests_max = 8;       // CA-7
    static constexpr std::size_t identities_max = 4096;  // docs/limits.md: certs.identities

    Certs(xds::Executor& executor, xds::CaTransport& ca, Options options, Registry& metrics);
    ~Certs();  // on the executor, or after it has stopped
    Certs(const Certs&) = delete;
    Certs& operator=(const Certs&) = delete;

    // From any thread.
    void add_loop(const std::shared_ptr<LoopCredentials>& loop);  // before its first get()
    void want(const mesh::Identity& identity);                    // CA-11: fetch and keep fresh; nobody waits
    void urgent(const mesh::Identity& identity);                  // a connection waits
    void forget(const mesh::Identity& identity);                  // the last local workload left
    // S16: called on the executor when an identity's trusted roots differ from those it had.
    void on_roots_changed(std::function<void(const mesh::Identity&)> tell);
    std::vector<CertificateLine> list() const;  // sorted by identity; /config_dump

private:
    class State;
    std::shared_ptr<State> state_;
};

// One loop's table. Made, asked and destroyed on that loop; Certs writes to it by messages to the loop.
class LoopCredentials final : public Credentials, public std::enable_shared_from_this<LoopCredentials> {
public:
    LoopCredentials(io::Loop& loop, Certs& certs) : loop_(loop), certs_(certs) {}
    // Refusals: no_certificate, with what the CA said; cancelled.
    io::Task<Result<std::shared_ptr<const tls::Credential>>> get(mesh::Identity identity) override;

    // On the loop: what Certs knows of an identity. No credential and no error: forgotten.
    struct News {
        std::shared_ptr<const tls::Credential> credential;
        std::optional<Error> error;
        bool passing = false;  // told to who waits, not remembered: the next who asks asks again
    };
    void tell(const mesh::Identity& identity, News news);
    io::Loop& loop() { return loop_; }

private:
    struct Waiter;
    bool usable(const std::shared_ptr<const tls::Credential>& credential) const;

    io::Loop& loop_;
    Certs& certs_;
    std::unordered_map<mesh::Identity, News> known_;
    std::multimap<mesh::Identity, Waiter*> waiters_;  // bounded by the connections that wait (docs/limits.md)
};

}  // namespace culvert::ztunnel
