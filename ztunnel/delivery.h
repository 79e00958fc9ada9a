// Payload of one receive on its way to the apps: collected per tunnel while the link's frames are parsed,
// then given to each app in as few sends as possible, straight from the receive buffer. Scratch of one loop;
// empty between two awaits.
//
// A list per tunnel through one vector, so that a peer who interleaves many small frames of many streams
// costs linear time.
#pragma once
#include "lib/base/bytes.h"

#include <cstdint>
#include <vector>

namespace culvert::ztunnel {

class Tunnel;

class Delivery {
public:
    static constexpr std::size_t pieces_max = 64;  // in one send; a 256 KB receive has 17 full frames

    void add(Tunnel& tunnel, ConstBytes bytes);
    void flush(Tunnel& tunnel);  // what it has; before its end is told
    void flush();                // everybody

private:
    struct Piece {
        ConstBytes bytes;
        std::uint32_t next = 0;  // counted from 1; 0: none
    };
    std::vector<Piece> pieces_;
    std::vector<Tunnel*> tunnels_;  // in the order of their first piece
};

}  // namespace culvert::ztunnel
