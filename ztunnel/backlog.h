// Bytes that a socket has not taken yet, in order: those that the ring is sending (they stay where they are
// until the operation completes) and those that gather behind them. A value of one link or tunnel; empty it
// owns no memory, its storage comes from the loop's shelf and goes back there. Its bound is its owner's: the
// stream's window (tunnel.h), Settings::unsent_max (link.h).
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/check.h"

namespace culvert::ztunnel {

// Storage of output buffers, so that an idle connection owns none and a busy one does not allocate. One a
// loop.
class BufferShelf {
public:
    static constexpr std::size_t kept_max = 8;             // docs/limits.md: ztunnel.shelf
    static constexpr std::size_t kept_size_max = 2 << 20;  // of one buffer

    OutBuffer take() {
        if (kept_.empty()) return {};
        OutBuffer buffer = std::move(kept_.back());
        kept_.pop_back();
        return buffer;
    }
    void give_back(OutBuffer buffer) {
        if (buffer.capacity() == 0 || buffer.capacity() > kept_size_max || kept_.size() == kept_max) return;
        buffer.clear();
        kept_.push_back(std::move(buffer));
    }

private:
    std::vector<OutBuffer> kept_;
};

class Backlog {
public:
    std::size_t size() const { return sending_.size() - sent_ + waiting_.size(); }
    bool empty() const { return size() == 0; }

    void add(ConstBytes bytes, BufferShelf& shelf) {
        if (waiting_.capacity() == 0) waiting_ = shelf.take();
        append(waiting_, bytes);
    }
    // The same without a copy, if nothing waits.
    void add(OutBuffer bytes, BufferShelf& shelf) {
        if (!waiting_.empty())
            append(waiting_, bytes);
        else
            std::swap(waiting_, bytes);
        shelf.give_back(std::move(bytes));
    }

    // What to send next; it stays valid and unchanged until sent().
    ConstBytes next() {
        if (sending_.empty()) std::swap(sending_, waiting_);
        return ConstBytes(sending_).subspan(sent_);
    }
    void sent(std::size_t bytes, BufferShelf& shelf) {
        sent_ += bytes;
        check(sent_ <= sending_.size());
        if (sent_ < sending_.size()) return;
        shelf.give_back(std::exchange(sending_, {}));
        sent_ = 0;
    }

    // `behind`: bytes that follow and that the owner keeps elsewhere.
    void save(Encoder& to, ConstBytes behind = {}) const {
        to.number(static_cast<std::uint32_t>(size() + behind.size()));
        to.fixed(ConstBytes(sending_).subspan(sent_));
        to.fixed(waiting_);
        to.fixed(behind);
    }
    static Backlog load(Decoder& from) {
        Backlog backlog;
        append(backlog.waiting_, from.bytes());
        return backlog;
    }

private:
    OutBuffer sending_;
    OutBuffer waiting_;
    std::size_t sent_ = 0;  // of sending_
};

}  // namespace culvert::ztunnel
