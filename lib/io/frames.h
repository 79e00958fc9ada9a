// Memory of coroutine frames, for the thread that runs the loop (one loop per core, so the pool is the
// loop's).
//
// Frames of one size class (64 bytes apart) share slabs of 64 KB, apart from everything else that the heap
// holds: what a burst of short-lived frames took is whole slabs again when it is over, and goes back to the
// system, although the frames of long-lived connections were made in between. Above `pooled_max` bytes a
// frame goes to the heap directly, and so does every frame under ASan, so that a frame used after its end is
// found. A pool may be told to refuse: a function whose frame is refused returns a Task that yields
// Reason::limit where it is awaited and is dropped by Scope::start.
//
// A frame may be given back on another thread than took it (a task started before its loop's thread runs): it
// goes back to its own pool by a locked list, off the path of loops. A pool outlives its thread until its
// last frame has come back.
//
// Empty slabs that are kept are bounded by `spares_max` per thread (docs/limits.md: io.frame_slabs_spare).
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace culvert::io {

class FramePool {
public:
    static constexpr std::size_t class_size = 64;
    static constexpr std::size_t pooled_max = 4096;
    static constexpr std::size_t slab_size = 64u << 10;
    static constexpr std::size_t spares_max = 4;

    static FramePool& here();  // of this thread

    FramePool() = default;
    ~FramePool();  // every frame has been given back
    FramePool(const FramePool&) = delete;
    FramePool& operator=(const FramePool&) = delete;

    void* take(std::size_t size) noexcept;  // null: refused, or no memory
    void give_back(void* frame, std::size_t size) noexcept;

    // Tests: the `n`-th take from now on is refused (1: the next), and only that one. 0: none.
    void refuse_the(std::uint64_t n) { refuse_in_ = n; }
    std::size_t alive() const { return alive_; }
    std::size_t alive_bytes() const { return alive_bytes_; }
    std::size_t slabs() const { return slabs_; }  // mapped, spare ones included

private:
    struct Slab;
    struct Holder;
    Slab* slab_for(std::size_t size_class) noexcept;
    void retire(Slab* slab) noexcept;
    void put(Slab* slab, void* frame) noexcept;
    void come_back(void* frame, std::size_t size) noexcept;  // from another thread
    void take_returned() noexcept;
    void orphan() noexcept;  // its thread ends

    std::array<Slab*, pooled_max / class_size> with_room_{};  // by class: slabs that have a free place
    Slab* spare_ = nullptr;
    std::size_t spares_ = 0;
    std::size_t slabs_ = 0;
    std::size_t alive_ = 0;
    std::size_t alive_bytes_ = 0;
    std::uint64_t refuse_in_ = 0;

    struct Returned {
        void* frame;
        std::size_t size;
    };
    std::atomic<bool> has_returned_ = false;
    std::mutex lock_;  // of the two below
    std::vector<Returned> returned_;
    bool orphaned_ = false;
};

}  // namespace culvert::io
