// What one loop owns of the data path: its view of the directory, the registry of its live connections, its metrics, and
// the way to credentials. One shard per loop, used by that loop's thread alone; nothing in it is shared but immutable
// snapshots. The composition root builds one per loop; PodView (pod_view.h) hands connections to it.
//
// The control side talks to a shard by messages to its loop (io::Loop::post_message): publish(), credentials_changed().
#pragma once
#include "lib/io/loop.h"
#include "lib/io/task.h"
#include "lib/mesh/identity.h"
#include "ztunnel/settings.h"

#include <memory>

namespace culvert {
class Registry;
}
namespace culvert::mesh {
class Directory;
}
namespace culvert::tls {
class Credential;
}

namespace culvert::ztunnel {

class Connections;
class Telemetry;
class PodView;

// Where certificates come from. Two implementations: certs.h (CA client), and given ones in tests.
class Credentials {
public:
    virtual ~Credentials() = default;
    // Called and resumed on a shard's loop. Waits until a usable certificate of `identity` is there; the caller brings
    // the deadline. Refusals: no_certificate.
    virtual io::Task<Result<std::shared_ptr<const tls::Credential>>> get(mesh::Identity identity) = 0;
};

class Shard {
public:
    Shard(io::Loop& loop, const Settings& settings, Credentials& credentials, Registry& metrics);
    ~Shard();  // every PodView is gone
    Shard(const Shard&) = delete;

    io::Loop& loop() { return loop_; }
    const Settings& settings() const { return settings_; }
    Credentials& credentials() { return credentials_; }
    Connections& connections() { return *connections_; }  // live ones: /config_dump, `culvert ztunnel-config connections`
    Telemetry& telemetry() { return *telemetry_; }

    // The snapshot in force; null until the first. A decision takes it once and never mixes two.
    const std::shared_ptr<const mesh::Directory>& directory() const { return directory_; }

    // A new snapshot: wakes who waits for a workload, re-evaluates policy on live connections of every pod that the
    // change touches and cuts what is no longer allowed (R-11, W-3).
    void publish(std::shared_ptr<const mesh::Directory> directory);

    // The trusted roots of this identity changed: its links end, dialled and accepted (S16). A renewed certificate
    // under the same roots needs no call: links made with the old one end at its notAfter.
    void roots_changed(const mesh::Identity& identity);

private:
    io::Loop& loop_;
    const Settings& settings_;
    Credentials& credentials_;
    std::shared_ptr<const mesh::Directory> directory_;
    std::unique_ptr<Connections> connections_;
    std::unique_ptr<Telemetry> telemetry_;
};

}  // namespace culvert::ztunnel
