#include "ztunnel/delivery.h"

#include "ztunnel/tunnel.h"

#include <array>

namespace culvert::ztunnel {

void Delivery::add(Tunnel& tunnel, ConstBytes bytes) {
    pieces_.push_back({bytes});
    auto number = static_cast<std::uint32_t>(pieces_.size());
    if (tunnel.first_piece_ == 0) {
        tunnel.first_piece_ = number;
        tunnels_.push_back(&tunnel);
    } else {
        pieces_[tunnel.last_piece_ - 1].next = number;
    }
    tunnel.last_piece_ = number;
}

void Delivery::flush(Tunnel& tunnel) {
    std::array<ConstBytes, pieces_max> gathered;
    std::size_t count = 0;
    for (std::uint32_t at = tunnel.first_piece_; at != 0; at = pieces_[at - 1].next) {
        gathered[count++] = pieces_[at - 1].bytes;
        if (count < pieces_max && pieces_[at - 1].next != 0) continue;
        tunnel.on_bytes(std::span(gathered).first(count));
        count = 0;
    }
    tunnel.first_piece_ = tunnel.last_piece_ = 0;
}

void Delivery::flush() {
    for (Tunnel* tunnel : tunnels_) flush(*tunnel);
    tunnels_.clear();
    pieces_.clear();
}

}  // namespace culvert::ztunnel
