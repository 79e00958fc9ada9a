// Chance comes from the loop, so that a seed replays a run. For balancing, jitter and trace ids, never for
// keys: those come from OpenSSL inside lib/tls.
#pragma once
#include <cstdint>

namespace culvert {

class Random {
public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;

    // Uniform in [0, bound); bound is at least 1. Multiplication instead of division: the bias is below 2^-32
    // for the bounds that we use.
    std::uint64_t below(std::uint64_t bound) {
        return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
    }
};

// SplitMix64: small, fast, and the same everywhere.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() override {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

private:
    std::uint64_t state_;
};

std::uint64_t system_seed();  // from getrandom(2)

}  // namespace culvert
