// What a link has to say: frames become records, and one turn's records leave in one send. Sans I/O, a value;
// belongs to one Link, on its loop.
//
// Small frames of a turn gather in `gathered_` and share a record: sealing costs about 0.5 us a record,
// whatever its size, so 64 small requests cost one record instead of 64. A full DATA frame is sealed from
// where it lies, without a copy. What the socket does not take at once becomes the backlog. Sealed bytes
// cannot be taken back (their numbers are spent), so their amount is bounded: the owner stops reading from
// apps while unsent() is at its bound (S19).
#pragma once
#include "lib/h2/frame.h"
#include "lib/tls/records.h"
#include "ztunnel/backlog.h"

namespace culvert::ztunnel {

class Outbox {
public:
    Outbox(tls::Sealer sealer, BufferShelf& shelf) : sealer_(std::move(sealer)), shelf_(&shelf) {}

    // In this order they leave.
    void control(ConstBytes frames);
    void data(const h2::FrameHeaderBytes& header, ConstBytes payload);
    void alert(tls::Alert alert);
    void key_update_asked() { sealer_.key_update_asked(); }

    // Seals what has gathered. Then either next() is sent, or, while nothing is being sent, sealed()
    // directly: tell sent_directly() how much of it went.
    void seal();
    ConstBytes sealed() const { return sealed_; }
    void sent_directly(std::size_t bytes);
    bool stalled() const { return !backlog_.empty(); }
    ConstBytes next();  // of a stalled outbox
    void sent(std::size_t bytes) { backlog_.sent(bytes, *shelf_); }

    std::size_t unsent() const { return gathered_.size() + sealed_.size() + backlog_.size(); }

    void save(Encoder& to) const;  // after seal()
    static Result<Outbox> load(Decoder& from, BufferShelf& shelf);

private:
    void seal_record(std::span<const ConstBytes> pieces, std::size_t size);
    void gather(ConstBytes bytes);
    Bytes room(std::size_t bytes);

    tls::Sealer sealer_;
    BufferShelf* shelf_;
    OutBuffer gathered_;  // plaintext of this turn, below one record
    OutBuffer sealed_;    // records of this turn
    Backlog backlog_;     // records that the socket did not take
};

}  // namespace culvert::ztunnel
