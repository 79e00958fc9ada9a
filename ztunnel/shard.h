// What one loop owns of the data path: its view of the directory, the registry of its live connections, its
// metrics, and the way to credentials. One shard per loop, used by that loop's thread alone; nothing in it is
// shared but immutable snapshots. The composition root builds one per loop; PodView (pod_view.h) hands
// connections to it.
//
// The control side talks to a shard by messages to its loop (io::Loop::post_message): publish(),
// roots_changed().
#pragma once
#include "lib/io/loop.h"
#include "lib/io/scope.h"
#include "lib/io/task.h"
#include "lib/mesh/directory.h"
#include "lib/mesh/identity.h"
#include "ztunnel/access_log.h"
#include "ztunnel/backlog.h"
#include "ztunnel/connections.h"
#include "ztunnel/delivery.h"
#include "ztunnel/settings.h"
#include "ztunnel/telemetry.h"

#include <memory>
#include <vector>

namespace culvert {
class Registry;
}
namespace culvert::tls {
class Credential;
class HandshakeMaker;
}  // namespace culvert::tls

namespace culvert::ztunnel {

class PodView;

// Where certificates come from. Two implementations: certs.h (CA client), and given ones in tests.
class Credentials {
public:
    virtual ~Credentials() = default;
    // Called and resumed on a shard's loop. Waits until a usable certificate of `identity` is there; the
    // caller brings the deadline. Refusals: no_certificate.
    virtual io::Task<Result<std::shared_ptr<const tls::Credential>>> get(mesh::Identity identity) = 0;
};

// What a shard is built from; all of it outlives the shard.
struct ShardParts {
    io::Loop& loop;
    const Settings& settings;
    Credentials& credentials;
    tls::HandshakeMaker& handshakes;
    Registry& metrics;
};

class Shard final : io::Timer {
public:
    explicit Shard(const ShardParts& parts);
    ~Shard();  // every PodView is gone
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;

    // The snapshot in force; null until the first. A decision takes it once and never mixes two.
    const mesh::DirectoryPtr& directory() const { return directory_; }
    // A new snapshot: wakes who waits for one, and judges live connections again when policy may have
    // changed; what is no longer allowed is cut (R-11, W-3).
    void publish(mesh::DirectoryPtr directory);
    // Until the next publish(), or cancelled.
    io::Task<Result<Done>> published();

    // The trusted roots of this identity changed: its links end, dialled and accepted (S16). A renewed
    // certificate under the same roots needs no call: links made with the old one end at its notAfter.
    void roots_changed(const mesh::Identity& identity);

    void look_later();  // for connections whose app is gone (Settings::look_for_gone)

    io::Loop& loop() { return parts_.loop; }
    const Settings& settings() const { return parts_.settings; }
    // A usable certificate of `identity`, within credential_wait (H-10). Refusals: no_certificate with what
    // the CA said, cancelled.
    io::Task<Result<std::shared_ptr<const tls::Credential>>> credential(mesh::Identity identity);
    tls::HandshakeMaker& handshakes() { return parts_.handshakes; }
    Connections& connections() { return connections_; }  // /config_dump, `culvert ztunnel-config connections`
    Telemetry& telemetry() { return telemetry_; }
    AccessLog& access_log() { return access_log_; }
    BufferShelf& shelf() { return shelf_; }
    Delivery& delivery() { return delivery_; }

    // Bytes in memory that one side sent and the other has not taken, of all connections and links: `now`
    // instead of `before` (S18).
    void count_held(std::size_t now, std::size_t before) { held_ += now - before; }
    bool holds_much() const { return held_ > settings().held_max / 2; }
    bool holds_too_much() const { return held_ > settings().held_max; }

private:
    friend class PodView;
    struct Reader {  // waits for a snapshot
        explicit Reader(Shard& of);
        ~Reader();
        Shard& shard;
        io::Event newer;
    };
    void judge_again();
    void due() override;

    ShardParts parts_;
    mesh::DirectoryPtr directory_;
    Connections connections_;
    Telemetry telemetry_;
    AccessLog access_log_;
    BufferShelf shelf_;
    Delivery delivery_;
    std::vector<PodView*> pods_;
    std::vector<Reader*> readers_;
    std::size_t held_ = 0;
};

}  // namespace culvert::ztunnel
