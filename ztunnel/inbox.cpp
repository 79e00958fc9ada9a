#include "ztunnel/inbox.h"

#include <algorithm>

namespace culvert::ztunnel {

std::expected<std::optional<tls::Opened>, tls::Failure> Inbox::next(Bytes& input) {
    using Kind = tls::Opened::Kind;
    while (!input.empty()) {
        bool cut = !cut_.empty();
        auto opened = cut ? open_cut(input) : opener_.open(input);
        if (!opened) return std::unexpected(opened.error());
        if (opened->kind == Kind::need_more) {
            if (!cut) append(cut_, input);
            input = {};
            break;
        }
        if (!cut) input = input.subspan(opened->used);
        if (opened->kind != Kind::nothing || opened->key_update_asked) return *opened;
    }
    return std::nullopt;
}

// Completes the cut record from the front of `input` and opens it.
std::expected<tls::Opened, tls::Failure> Inbox::open_cut(Bytes& input) {
    // Twice: a record of which not even the header is there says its size only after five bytes.
    for (int i = 0; i < 2; ++i) {
        std::size_t whole = tls::record_size(cut_);
        std::size_t more = std::min(whole - std::min(whole, cut_.size()), input.size());
        append(cut_, input.first(more));
        input = input.subspan(more);
    }
    auto opened = opener_.open(cut_);
    if (!opened || opened->kind == tls::Opened::Kind::need_more) return opened;
    opened_ = std::exchange(cut_, {});
    return opened;
}

void Inbox::save(Encoder& to) const {
    opener_.save(to);
    to.bytes(cut_);
}

Result<Inbox> Inbox::load(Decoder& from) {
    TRY(tls::Opener opener, tls::Opener::load(from));
    Inbox inbox(std::move(opener));
    append(inbox.cut_, from.bytes());
    if (!from.ok()) return refuse(Reason::bad_input);
    return inbox;
}

}  // namespace culvert::ztunnel
