// A controller's gRPC port as a test needs it: real TLS on loopback with the mesh's own authority, real node
// tokens, a CA that signs what it is told it may, a roll of reports. Handlers run on gRPC's threads, so
// everything has a lock; `wait` waits until something holds, woken by what happens, and gives up after 30
// seconds.
#pragma once
#include "lib/tls/authority.h"
#include "lib/tls/credentials.h"
#include "lib/tls/token.h"
#include "lib/xds/grpc_client.h"
#include "lib/xds/grpc_server.h"
#include "test/support/scratch.h"

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace culvert::test {

class Happened {
public:
    void notify() {
        std::lock_guard hold(lock_);
        ++count_;
        changed_.notify_all();
    }
    // Looks again whenever something happened, and now and then: counters change without telling anybody.
    bool wait(const std::function<bool()>& holds) {
        for (int i = 0; i < 600; ++i) {
            if (holds()) return true;
            std::unique_lock hold(lock_);
            changed_.wait_for(hold, std::chrono::milliseconds(50),
                              [&, before = count_] { return count_ != before; });
        }
        return holds();
    }

private:
    std::mutex lock_;
    std::condition_variable changed_;
    std::uint64_t count_ = 0;
};

class ControlPlane final : xds::Authenticator, xds::CaHandler, xds::ReportHandler {
public:
    // `names`: of the serving certificate.
    explicit ControlPlane(std::vector<std::string> names = {"localhost"}, xds::ServerOptions options = {});
    ~ControlPlane();

    void start();  // on the same port if it ran before
    void stop();
    xds::Endpoint endpoint(const std::string& node = "n1") const;  // for a client on that node
    std::string token(const std::string& node, std::chrono::seconds ttl = tls::token_ttl) const;
    void publish(xds::SnapshotPtr snapshot);
    void serve_as(std::vector<std::string> names);  // writes a new serving certificate

    void banish(const std::string& node);   // it does not exist any more
    void allow(const std::string& spiffe);  // the CA signs for these
    std::map<std::string, xds::PodReport> roll(const std::string& node);
    std::size_t signatures();
    std::uint64_t refused(const std::string& reason);

    xds::GrpcServer& server() { return *server_; }
    const tls::Authority& authority() const { return authority_; }
    Happened& happened() { return happened_; }
    std::string path(const std::string& name) const { return scratch_.path(name); }
    Registry metrics;

private:
    Result<xds::Caller> authenticate(xds::Presented presented) override;
    Result<Done> still(const xds::Caller& caller) override;
    void sign(const xds::Caller& caller, xds::SignRequest request, xds::SignAnswer answer) override;
    void report(const xds::Caller& caller, xds::Report report, Applied applied) override;

    Scratch scratch_;
    tls::Authority authority_;
    tls::TokenKey tokens_;
    xds::ServerOptions options_;
    xds::SnapshotPtr published_;
    Happened happened_;
    std::mutex lock_;
    std::set<std::string> allowed_;
    std::set<std::string> banished_;
    std::size_t signatures_ = 0;
    std::map<std::string, std::map<std::string, xds::PodReport>> roll_;
    std::unique_ptr<xds::GrpcServer> server_;
};

}  // namespace culvert::test
