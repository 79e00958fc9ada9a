// One client stream on gRPC's callback API, for discovery and for reports: what arrives is posted to the
// executor and the next message is read only when the executor has dealt with this one. Private to lib/xds.
//
// gRPC holds the stream until OnDone. The hold that keeps it open for our writes is let go exactly once: when
// reading has ended, or when the owner lets go while a message waits at the executor. The executor outlives
// the stream, and whoever made it calls detach() before letting go: the last channel of the process must not
// be destroyed on a thread of gRPC's, which would join itself (CallbackAlternativeCQ, gRPC 1.51).
#pragma once
#include "lib/xds/backoff.h"
#include "lib/xds/executor.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace culvert::xds {

template <class Request, class Response>
class ClientStream final : public grpc::ClientBidiReactor<Request, Response>,
                           public std::enable_shared_from_this<ClientStream<Request, Response>> {
public:
    using OnMessage = std::function<void(Response&)>;
    using OnEnd = std::function<void(StreamEnd)>;

    // On the executor. Neither is called after detach().
    ClientStream(Executor& executor, OnMessage message, OnEnd end)
        : executor_(executor), message_(std::move(message)), end_(std::move(end)) {}

    grpc::ClientContext& context() { return context_; }
    void own(std::shared_ptr<grpc::Channel> channel) { channel_ = std::move(channel); }

    // After the stub has bound this to its call.
    void start() {
        self_ = this->shared_from_this();
        this->AddHold();
        held_ = true;
        this->StartRead(&response_);
        this->StartCall();
    }
    // The call could not even begin.
    void fail(std::string text) {
        done_ = true;
        executor_.post([self = this->shared_from_this(), text = std::move(text)] {
            if (!self->detached_) self->end_({StreamEnd::Kind::connect_failed, 14, text});
        });
    }
    void send(Request request) {
        std::lock_guard hold(lock_);
        if (!held_) return;
        requests_.push_back(std::move(request));
        if (requests_.size() == 1) this->StartWrite(&requests_.front());
    }
    void cancel() { context_.TryCancel(); }

    // The owner goes: on the executor, or after it has stopped. Returns when gRPC has let go. Not to be left
    // out.
    void detach() {
        detached_ = true;
        context_.TryCancel();
        {
            std::lock_guard hold(lock_);
            if (waiting_) release();
        }
        std::unique_lock hold(lock_);
        wake_.wait(hold, [this] { return done_; });
    }

private:
    void OnReadInitialMetadataDone(bool ok) override {
        std::lock_guard hold(lock_);
        reached_ |= ok;
    }
    void OnReadDone(bool ok) override {
        std::lock_guard hold(lock_);
        if (!ok || detached_) return release();
        reached_ = true;
        waiting_ = true;
        executor_.post([self = this->shared_from_this()] { self->deliver(); });
    }
    void OnWriteDone(bool ok) override {
        std::lock_guard hold(lock_);
        requests_.pop_front();
        if (ok && held_ && !requests_.empty()) this->StartWrite(&requests_.front());
        if (!ok) requests_.clear();
    }
    void OnDone(const grpc::Status& status) override {
        auto end = stream_end(reached_, status.error_code(), status.error_message());
        executor_.post([self = self_, end = std::move(end)] {
            if (!self->detached_) self->end_(end);
        });
        std::lock_guard hold(lock_);
        self_.reset();  // never the last: the owner waits for what follows
        done_ = true;
        wake_.notify_all();
    }
    void deliver() {
        if (!detached_) message_(response_);
        std::lock_guard hold(lock_);
        if (!std::exchange(waiting_, false)) return;  // detach() was here meanwhile
        response_.Clear();
        this->StartRead(&response_);
    }
    void release() {
        waiting_ = false;
        if (std::exchange(held_, false)) this->RemoveHold();
    }

    Executor& executor_;
    OnMessage message_;
    OnEnd end_;
    std::shared_ptr<grpc::Channel> channel_;
    grpc::ClientContext context_;
    Response response_;
    std::mutex lock_;
    std::condition_variable wake_;
    std::deque<Request>
        requests_;  // the first is being written; one answer for each message read, so it stays short
    std::shared_ptr<ClientStream> self_;  // while gRPC holds it
    bool held_ = false;
    bool waiting_ = false;  // a message is at the executor: nothing is being read
    bool reached_ = false;
    bool done_ = false;
    std::atomic<bool> detached_ = false;
};

}  // namespace culvert::xds
