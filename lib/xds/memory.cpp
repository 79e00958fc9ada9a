#include "lib/xds/memory.h"

#include "lib/base/check.h"
#include "lib/xds/delta_server.h"
#include "lib/xds/wire.h"

#include <list>
#include <utility>

namespace culvert::xds {

namespace {
constexpr int unavailable = 14;
constexpr int unauthenticated = 16;
constexpr int resource_exhausted = 8;
}  // namespace

class MemoryServer::State : public std::enable_shared_from_this<State> {
public:
    // One stream of either kind, as both ends see it. Ends once; what is on its way then is lost.
    struct Stream {
        virtual ~Stream() = default;
        virtual void end(StreamEnd how) = 0;
        Instant client_busy;  // order is kept: nothing arrives before what was sent earlier
        Instant server_busy;
        bool ended = false;
    };
    struct Discovery;
    struct Reports;

    State(Executor& executor, Handlers handlers) : executor(executor), handlers(handlers) {}

    // Runs `work` later, unless the stream has ended by then.
    void carry(const std::shared_ptr<Stream>& stream, Instant& busy, Work work) {
        Instant now = executor.clock().now();
        Duration delay{static_cast<std::int64_t>(
            executor.random().below(static_cast<std::uint64_t>(longest.count()) + 1))};
        busy = std::max(busy, now + delay);
        executor.after(busy - now, [stream, work = std::move(work)]() mutable {
            if (!stream->ended) work();
        });
    }
    void finish(const std::shared_ptr<Stream>& stream, bool reached, int code, std::string text) {
        if (std::exchange(stream->ended, true)) return;
        streams.remove(stream);
        executor.post([stream, end = stream_end(reached, code, std::move(text))] { stream->end(end); });
    }
    Result<Caller> admit(const std::string& bearer) {
        if (!up) return refuse(Reason::unreachable);
        return handlers.authenticator->authenticate({bearer, "memory"});
    }
    // The client's open(): true if the server took the stream.
    bool accept(const std::shared_ptr<Stream>& stream, const std::string& bearer, Caller& caller) {
        Result<Caller> admitted = admit(bearer);
        if (!admitted) {
            bool down = admitted.error().reason == Reason::unreachable;
            finish(stream, !down, down ? unavailable : unauthenticated, admitted.error().to_string());
            return false;
        }
        caller = *admitted;
        streams.push_back(stream);
        return true;
    }
    void end_all() {
        for (const auto& stream : std::list(streams))
            finish(stream, true, unavailable, "the server went away");
    }

    Executor& executor;
    Handlers handlers;
    SnapshotPtr snapshot = std::make_shared<const Snapshot>();
    std::list<std::shared_ptr<Stream>> streams;
    Duration longest{};
    bool up = true;
};

struct MemoryServer::State::Discovery final : Stream {
    explicit Discovery(DeltaTransport::Events& events) : events(events) {}
    void end(StreamEnd how) override { events.closed(std::move(how)); }

    DeltaTransport::Events& events;
    DeltaStream machine;
};

struct MemoryServer::State::Reports final : Stream {
    explicit Reports(ReportTransport::Events& events) : events(events) {}
    void end(StreamEnd how) override { events.closed(std::move(how)); }

    ReportTransport::Events& events;
    Caller caller;
};

namespace {

template <class State, class Discovery> void push(State& state, const std::shared_ptr<Discovery>& stream) {
    while (auto next = stream->machine.next(state.snapshot)) {
        state.carry(stream, stream->client_busy, [stream, bytes = push_bytes(*next)] {
            Result<DeltaResponse> response = parse_response(bytes);
            check(response.has_value());
            stream->events.received(*std::move(response));
        });
    }
}

template <class State> class MemoryDelta final : public DeltaTransport {
public:
    MemoryDelta(std::shared_ptr<State> state, std::string bearer)
        : state_(std::move(state)), bearer_(std::move(bearer)) {}
    ~MemoryDelta() override {
        if (!stream_) return;
        stream_->ended = true;
        state_->streams.remove(stream_);
    }
    void open(Events& events) override {
        stream_ = std::make_shared<typename State::Discovery>(events);
        Caller caller;
        state_->accept(stream_, bearer_, caller);
    }
    void send(DeltaRequest request) override {
        auto& state = *state_;
        state.carry(stream_, stream_->server_busy, [&state, stream = stream_, bytes = bytes_of(request)] {
            Result<DeltaRequest> parsed = parse_request(bytes);
            check(parsed.has_value());
            if (auto heard = stream->machine.received(*std::move(parsed)); !heard)
                state.finish(stream, true, resource_exhausted, heard.error().to_string());
            else
                push(state, stream);
        });
    }
    void close() override { state_->finish(stream_, true, 0, "closed"); }

private:
    std::shared_ptr<State> state_;
    std::string bearer_;
    std::shared_ptr<typename State::Discovery> stream_;
};

template <class State> class MemoryReport final : public ReportTransport {
public:
    MemoryReport(std::shared_ptr<State> state, std::string bearer)
        : state_(std::move(state)), bearer_(std::move(bearer)) {}
    ~MemoryReport() override {
        if (!stream_) return;
        stream_->ended = true;
        state_->streams.remove(stream_);
    }
    void open(Events& events) override {
        stream_ = std::make_shared<typename State::Reports>(events);
        state_->accept(stream_, bearer_, stream_->caller);
    }
    void send(Report report) override {
        auto& state = *state_;
        state.carry(stream_, stream_->server_busy,
                    [&state, stream = stream_, report = std::move(report)]() mutable {
                        std::uint64_t sequence = report.sequence;
                        auto applied = [&state, stream, sequence](Result<Done> done) {
                            if (!done)
                                return state.finish(stream, true, unavailable, done.error().to_string());
                            state.carry(stream, stream->client_busy,
                                        [stream, sequence] { stream->events.acknowledged(sequence); });
                        };
                        state.handlers.report->report(stream->caller, std::move(report), std::move(applied));
                    });
    }
    void close() override { state_->finish(stream_, true, 0, "closed"); }

private:
    std::shared_ptr<State> state_;
    std::string bearer_;
    std::shared_ptr<typename State::Reports> stream_;
};

template <class State> class MemoryCa final : public CaTransport {
public:
    MemoryCa(std::shared_ptr<State> state, std::string bearer)
        : state_(std::move(state)), bearer_(std::move(bearer)) {}
    void sign(SignRequest request, SignAnswer answer) override {
        auto work = [state = state_, bearer = bearer_, request = std::move(request),
                     answer = std::move(answer)]() mutable {
            Result<Caller> caller = state->admit(bearer);
            if (!caller) return answer(refuse(std::move(caller)));
            state->handlers.ca->sign(
                *caller, std::move(request), [state, answer = std::move(answer)](auto chain) mutable {
                    state->executor.post([answer = std::move(answer), chain = std::move(chain)]() mutable {
                        answer(std::move(chain));
                    });
                });
        };
        Duration delay{static_cast<std::int64_t>(
            state_->executor.random().below(static_cast<std::uint64_t>(state_->longest.count()) + 1))};
        state_->executor.after(delay, std::move(work));
    }

private:
    std::shared_ptr<State> state_;
    std::string bearer_;
};

}  // namespace

MemoryServer::MemoryServer(Executor& executor, Handlers handlers)
    : state_(std::make_shared<State>(executor, handlers)) {}

MemoryServer::~MemoryServer() {
    for (const auto& stream : state_->streams) stream->ended = true;
    state_->streams.clear();
}

void MemoryServer::publish(SnapshotPtr snapshot) {
    state_->snapshot = std::move(snapshot);
    for (const auto& stream : std::list(state_->streams))
        if (auto discovery = std::dynamic_pointer_cast<State::Discovery>(stream)) push(*state_, discovery);
}

void MemoryServer::set_up(bool up) {
    state_->up = up;
    if (!up) state_->end_all();
}

void MemoryServer::disconnect() { state_->end_all(); }
std::size_t MemoryServer::streams() const { return state_->streams.size(); }
void MemoryServer::set_delay(Duration longest) { state_->longest = longest; }

std::unique_ptr<DeltaTransport> MemoryServer::delta_transport(std::string bearer) {
    return std::make_unique<MemoryDelta<State>>(state_, std::move(bearer));
}
std::unique_ptr<CaTransport> MemoryServer::ca_transport(std::string bearer) {
    return std::make_unique<MemoryCa<State>>(state_, std::move(bearer));
}
std::unique_ptr<ReportTransport> MemoryServer::report_transport(std::string bearer) {
    return std::make_unique<MemoryReport<State>>(state_, std::move(bearer));
}

}  // namespace culvert::xds
