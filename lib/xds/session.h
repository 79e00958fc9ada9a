// Keeps a delta discovery stream alive: runs DeltaClient over a transport, reconnects as X-13 says, and hands
// deltas to its listener. Lives on its executor: every call and every answer there. stop() before it is
// destroyed.
#pragma once
#include "lib/base/metrics.h"
#include "lib/xds/delta_client.h"
#include "lib/xds/executor.h"
#include "lib/xds/transport.h"

#include <memory>

namespace culvert::xds {

class DeltaSession final : DeltaTransport::Events {
public:
    class Listener {
    public:
        virtual void
        delta(mesh::Delta delta) = 0;         // in force when it returns: only then it is acknowledged
        virtual void ready() = 0;             // once; after the delta that completed the picture
        virtual void connected(bool is) = 0;  // true with the first response of a stream

    protected:
        ~Listener() = default;
    };

    DeltaSession(Executor& executor, DeltaTransport& transport, Node node, Listener& listener,
                 Registry& metrics);
    ~DeltaSession();
    DeltaSession(const DeltaSession&) = delete;

    void start();
    void stop();  // no answer comes after it
    bool ready() const { return client_.ready(); }

private:
    void received(DeltaResponse response) override;
    void closed(StreamEnd end) override;
    void open();

    Executor& executor_;
    DeltaTransport& transport_;
    DeltaClient client_;
    Listener& listener_;
    Registry& metrics_;
    Reconnect reconnect_;
    Instant opened_at_;
    bool open_ = false;
    bool connected_ = false;
    bool stopped_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace culvert::xds
