// How much trouble a peer may make: an abuse budget that the caller's clock refills (S19, S21). Frames that
// cost us work and move no payload take from it; when it is gone the connection ends with ENHANCE_YOUR_CALM.
// A value; no clock of its own.
//
// Arithmetic: 1,000 to begin with and at most, 200 more a second. So 500 PINGs or 200 refused CONNECTs in one
// burst, then 100 PINGs or 40 refusals every second, for as long as the peer likes.
#pragma once
#include <algorithm>
#include <cstdint>

namespace culvert::h2 {

constexpr std::int32_t patience_max = 1000;
constexpr std::int32_t patience_a_second = 200;

// Costs. What is not named here and moves no payload costs 1.
constexpr std::int32_t cost_ping = 2;             // an answer of 17 bytes
constexpr std::int32_t cost_settings = 5;         // an answer, and every stream's window is touched
constexpr std::int32_t cost_early_reset = 10;     // a CONNECT taken back before our answer: rapid reset
constexpr std::int32_t cost_refused_connect = 5;  // policy, or a dial, or a malformed request
constexpr std::int32_t cost_other = 1;

class Patience {
public:
    // False: gone, and it stays gone until refilled.
    bool spend(std::int32_t cost) {
        left_ = std::max(left_ - cost, -patience_max);
        return left_ >= 0;
    }
    void refill(std::int32_t more) { left_ = std::min(patience_max, left_ + more); }
    bool full() const { return left_ == patience_max; }
    bool gone() const { return left_ < 0; }
    std::int32_t left() const { return left_; }

    static Patience restored(std::int32_t left) {
        Patience patience;
        patience.left_ = std::clamp(left, -patience_max, patience_max);
        return patience;
    }
    bool operator==(const Patience&) const = default;

private:
    std::int32_t left_ = patience_max;
};

}  // namespace culvert::h2
