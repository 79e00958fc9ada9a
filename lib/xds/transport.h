// The seams between the state machines and the world (decision 19): gRPC in programs (grpc_client.h), memory
// in the simulator and tests (memory.h). Every call comes from, and every answer arrives on, the executor
// that the transport was made with; so none of this needs a lock.
#pragma once
#include "lib/base/result.h"
#include "lib/xds/backoff.h"
#include "lib/xds/messages.h"

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace culvert::xds {

// One delta discovery stream at a time.
class DeltaTransport {
public:
    class Events {
    public:
        virtual void received(DeltaResponse response) = 0;  // the next is read when this has returned
        virtual void closed(StreamEnd end) = 0;             // once for each open(); nothing follows

    protected:
        ~Events() = default;
    };
    virtual ~DeltaTransport() = default;
    virtual void open(Events& events) = 0;  // never answers before it returns; send() is allowed at once
    virtual void send(DeltaRequest request) = 0;
    virtual void close() = 0;  // closed() follows, unless it has come
};

// CA-2, CA-4.
struct SignRequest {
    std::string csr;  // PEM
    std::chrono::seconds ttl{};
    std::string impersonate;  // SPIFFE id; empty: the caller's own
};
using SignAnswer = std::move_only_function<void(Result<std::vector<std::string>> chain)>;

class CaTransport {
public:
    virtual ~CaTransport() = default;
    // Answers exactly once, never before it returns. Refusals: unreachable, timed_out, ca_rejected,
    // token_rejected.
    virtual void sign(SignRequest request, SignAnswer answer) = 0;
};

// Decision 9: what the agent says of a pod.
struct PodReport {
    std::string uid;
    std::string name_space;
    std::string name;
    bool enrolled = false;
    std::string reason;  // why not
    bool gone = false;
    bool operator==(const PodReport&) const = default;
};
struct Report {
    std::string node;
    bool snapshot = false;  // names every pod of the node
    std::uint64_t sequence = 0;
    std::vector<PodReport> pods;
    bool operator==(const Report&) const = default;
};

class ReportTransport {
public:
    class Events {
    public:
        virtual void acknowledged(std::uint64_t sequence) = 0;
        virtual void closed(StreamEnd end) = 0;

    protected:
        ~Events() = default;
    };
    virtual ~ReportTransport() = default;
    virtual void open(Events& events) = 0;
    virtual void send(Report report) = 0;
    virtual void close() = 0;
};

}  // namespace culvert::xds
