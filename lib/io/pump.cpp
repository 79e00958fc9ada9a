#include "lib/io/pump.h"

namespace culvert::io {
namespace {

// One receive's worth: what was refused stays in `stalled`. False at the clean end.
Result<bool> pass_on(const Received& got, Socket& to, Buffer& stalled, std::uint64_t& moved_bytes) {
    if (got.end()) return false;
    TRY(std::size_t sent, to.try_send(got.bytes()));
    moved_bytes += sent;
    append(stalled, got.bytes().subspan(sent));
    return true;
}

// Says how one direction ended; its failure is the other's end, too.
Task<void> pump_in(Scope& both, Socket& from, Socket& to, std::uint64_t& moved_bytes, Result<Done>& outcome) {
    Result<Done> ended = co_await pump(from, to, moved_bytes);
    if (!ended && outcome) outcome = ended;
    if (!ended) both.cancel();
}

}  // namespace

Task<Result<Done>> pump(Socket& from, Socket& to, std::uint64_t& moved_bytes) {
    std::size_t most = from.loop().driver().buffer_size();
    for (;;) {
        Buffer stalled;
        {
            CO_TRY(Received got, co_await from.recv(most));
            CO_TRY(bool more, pass_on(got, to, stalled, moved_bytes));
            if (!more) break;
        }
        if (stalled.empty()) continue;
        ConstBytes rest = stalled;
        CO_TRY(std::size_t sent, co_await to.send(rest));
        moved_bytes += sent;
        if (sent < rest.size()) co_return refuse(Reason::cancelled);
    }
    to.shut_write();
    co_return Done{};
}

Task<Result<Done>> relay(Loop& loop, Socket& one, Socket& other, Moved& moved) {
    Scope both(loop);
    Result<Done> outcome;
    bool started = both.start(pump_in(both, one, other, moved.out_bytes, outcome)) &&
                   both.start(pump_in(both, other, one, moved.back_bytes, outcome));
    if (!started) {
        outcome = refuse(Reason::limit);
        both.cancel();
    }
    co_await both.join();
    if (!outcome) {
        one.reset_on_close();
        other.reset_on_close();
    }
    co_return outcome;
}

}  // namespace culvert::io
