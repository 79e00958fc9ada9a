// Memory of coroutine frames: size classes of 64 bytes, cached by the thread that runs the loop (one loop per
// core, so the cache is the loop's). Above `pooled_max` bytes a frame goes to the heap directly, and so does
// every frame under ASan, so that a frame used after its end is found. A pool may be told to refuse: a
// function whose frame is refused returns a Task that yields Reason::limit where it is awaited and is dropped
// by Scope::start.
//
// Cached memory is bounded by `cached_max` per thread (docs/limits.md: io.frames_cached_max); what exceeds it
// is freed.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace culvert::io {

class FramePool {
public:
    static constexpr std::size_t class_size = 64;
    static constexpr std::size_t pooled_max = 4096;
    static constexpr std::size_t cached_max = 1 << 20;

    static FramePool& here();  // of this thread

    FramePool() = default;
    ~FramePool();
    FramePool(const FramePool&) = delete;
    FramePool& operator=(const FramePool&) = delete;

    void* take(std::size_t size) noexcept;  // null: refused, or no memory
    void give_back(void* frame, std::size_t size) noexcept;

    // Tests: the `n`-th take from now on is refused (1: the next), and only that one. 0: none.
    void refuse_the(std::uint64_t n) { refuse_in_ = n; }
    std::size_t alive() const { return alive_; }
    std::size_t alive_bytes() const { return alive_bytes_; }
    std::size_t cached_bytes() const { return cached_bytes_; }

private:
    struct Free {
        Free* next;
    };
    std::array<Free*, pooled_max / class_size> free_{};
    std::size_t alive_ = 0;
    std::size_t alive_bytes_ = 0;
    std::size_t cached_bytes_ = 0;
    std::uint64_t refuse_in_ = 0;
};

}  // namespace culvert::io
