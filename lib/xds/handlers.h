// What a controller brings to the server side: who may call, who signs, who listens to reports. gRPC's
// threads call these (memory.h: the executor), several at once: they must be thread-safe and must not wait;
// what takes time is answered later.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/xds/messages.h"
#include "lib/xds/transport.h"

#include <string>
#include <string_view>

namespace culvert::xds {

struct Caller {
    std::string node;                    // proven by its token
    std::string peer;                    // "ipv4:10.0.0.1:4711", for logs
    WallTime expires = WallTime::max();  // of the token
    bool operator==(const Caller&) const = default;
};

// What a call comes with.
struct Presented {
    std::string_view bearer;  // what followed "Bearer "; empty: there was none
    std::string_view peer;
};

class Authenticator {
public:
    // Refusals: token_rejected; the text goes to our log only.
    virtual Result<Caller> authenticate(Presented presented) = 0;
    // Asked of every call that goes on, every few seconds: one that lives long must not outlive its token nor
    // its node. Refusals as above.
    virtual Result<Done> still(const Caller& caller) = 0;

protected:
    ~Authenticator() = default;
};

class CaHandler {
public:
    // Answers once, from any thread, now or later. Refusals: ca_rejected or tls_identity (the caller sees
    // Unauthenticated, CA-6), bad_input (InvalidArgument), anything else Unavailable.
    virtual void sign(const Caller& caller, SignRequest request, SignAnswer answer) = 0;

protected:
    ~CaHandler() = default;
};

class ReportHandler {
public:
    // Called once: what it said is in force, which acknowledges it; or why not, which ends the call, so that
    // the agent says it again on its next stream.
    using Applied = std::move_only_function<void(Result<Done>)>;
    virtual void report(const Caller& caller, Report report, Applied applied) = 0;

protected:
    ~ReportHandler() = default;
};

struct Handlers {
    Authenticator* authenticator = nullptr;
    CaHandler* ca = nullptr;
    ReportHandler* report = nullptr;
};

}  // namespace culvert::xds
