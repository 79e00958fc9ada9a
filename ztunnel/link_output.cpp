// What a link says: frames of one turn into one send, and who may add to it.
#include "ztunnel/link.h"
#include "ztunnel/shard.h"
#include "ztunnel/tunnel.h"

#include <algorithm>

namespace culvert::ztunnel {

std::size_t Link::send(h2::StreamId stream, ConstBytes bytes) {
    if (ended() || closing_) return 0;
    take_control();  // what was queued before leaves before
    std::size_t taken = 0;
    while (taken < bytes.size()) {
        std::size_t allowed = std::min(h2::data_max, engine_.send_allowance(stream));
        ConstBytes piece = bytes.subspan(taken, std::min(allowed, bytes.size() - taken));
        if (piece.empty()) break;
        auto header = engine_.frame_data(stream, piece.size(), false);
        if (!header) break;
        outbox_.data(*header, piece);
        taken += piece.size();
    }
    meter_.add(taken);
    if (taken != 0) want_flush();
    return taken;
}

void Link::send_end(h2::StreamId stream) {
    if (ended() || closing_) return;
    take_control();
    auto header = engine_.frame_data(stream, 0, true);
    if (header) outbox_.data(*header, {});
    want_flush();
}

void Link::consumed(h2::StreamId stream, std::size_t bytes) {
    if (ended() || closing_) return;
    engine_.consumed(stream, bytes);
    if (!engine_.output().empty()) want_flush();
}

void Link::reset(h2::StreamId stream) { give_up(stream, h2::Code::connect_error); }

void Link::turn_away(h2::StreamId stream) { give_up(stream, h2::Code::refused_stream); }

void Link::give_up(h2::StreamId stream, h2::Code code) {
    if (ended() || closing_) return;
    engine_.reset(stream, code);
    forget_request(stream);  // if nobody took it: the peer may open another in its place
    want_flush();
}

void Link::take_control() {
    if (engine_.output().empty()) return;
    outbox_.control(engine_.output());
    engine_.output_taken();
}

void Link::want_flush() { shard_.loop().at_turn_end(*this); }

void Link::turn_end() { flush(); }

void Link::flush() {
    if (ended() || paused_) return;
    take_control();
    outbox_.seal();
    if (outbox_.stalled()) return;  // write() goes on with it
    if (!outbox_.sealed().empty()) {
        auto sent = socket_.try_send(outbox_.sealed());
        if (!sent) return end(Reason::reset);
        outbox_.sent_directly(*sent);
        if (outbox_.stalled() && !scope_.start(write())) return end(Reason::limit);
    }
    count_unsent();
    if (ended() || outbox_.stalled()) return;
    if (closing_) socket_.shut_write();
    wake_waiting();  // also those that a direct send made room for
}

// Exists only while the socket is full.
io::Task<void> Link::write() {
    while (!ended() && !paused_ && (outbox_.stalled() || !outbox_.sealed().empty())) {
        ConstBytes next = outbox_.next();
        auto sent = co_await socket_.send(next);
        if (!sent && paused_ && sent.error().reason == Reason::cancelled) co_return;
        if (!sent)
            end(sent.error().reason == Reason::cancelled ? Reason::cancelled : Reason::reset);
        else
            outbox_.sent(*sent);
        count_unsent();
        wake_waiting();
    }
    if (closing_ && !ended()) socket_.shut_write();
}

// What a peer does not take counts against the loop's budget (S18).
void Link::count_unsent() {
    shard_.count_held(outbox_.unsent(), counted_);
    counted_ = outbox_.unsent();
    if (outbox_.stalled() && shard_.holds_too_much()) end(Reason::limit);
}

bool Link::room() const { return outbox_.unsent() < shard_.settings().unsent_max; }

void Link::wait_for_room(Tunnel& tunnel) {
    if (std::ranges::find(waiting_, &tunnel) == waiting_.end()) waiting_.push_back(&tunnel);
}

// Round robin by bytes: first come first served, each reckoned with one turn's bytes, as long as there is
// room.
void Link::wake_waiting() {
    if (ended() || waiting_.empty()) return;
    std::size_t unsent = outbox_.unsent();
    std::erase_if(waiting_, [this, &unsent](Tunnel* tunnel) {
        if (unsent >= shard_.settings().unsent_max) return false;
        if (engine_.send_allowance(tunnel->stream()) == 0) return false;
        unsent += turn_bytes;
        tunnel->wake();
        return true;
    });
}

BufferShelf& Link::shelf() { return shard_.shelf(); }

}  // namespace culvert::ztunnel
