#include "lib/io/frames.h"

#include "lib/base/check.h"

#include <cstddef>
#include <new>
#include <sys/mman.h>
#include <utility>

namespace culvert::io {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool pooled = false;
#else
constexpr bool pooled = true;
#endif
#else
constexpr bool pooled = true;
#endif

// Which class a size belongs to; sizes are at least 1.
std::size_t class_of(std::size_t size) { return (size - 1) / FramePool::class_size; }
std::size_t bytes_of(std::size_t size_class) { return (size_class + 1) * FramePool::class_size; }

// Aligned to its size, so that a frame's address says which slab it is in: twice the size always holds one.
void* map_slab() {
    constexpr std::size_t size = FramePool::slab_size;
    void* mapped = mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    auto* begin = static_cast<std::byte*>(mapped);
    const std::size_t before = (size - reinterpret_cast<std::uintptr_t>(begin) % size) % size;
    if (before != 0) munmap(begin, before);
    munmap(begin + before + size, size - before);
    return begin + before;
}

struct Free {
    Free* next;
};

}  // namespace

// Stands at the start of its slab; places follow. Those from `untouched` on have never been used.
struct FramePool::Slab {
    FramePool* owner;
    Slab* before;
    Slab* after;
    Free* free;
    std::size_t size_class;
    std::size_t used;
    std::size_t untouched;

    static constexpr std::size_t head = 64;
    static Slab* of(void* frame) {
        return reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(frame) & ~(slab_size - 1));
    }
    std::size_t places() const { return (slab_size - head) / bytes_of(size_class); }
    bool full() const { return !free && untouched == places(); }
    void* take() {
        ++used;
        if (free) return std::exchange(free, free->next);
        return reinterpret_cast<std::byte*>(this) + head + untouched++ * bytes_of(size_class);
    }
    void put(void* frame) {
        --used;
        free = ::new (frame) Free{free};
    }
    void join(Slab*& list) {
        before = nullptr;
        after = list;
        if (after) after->before = this;
        list = this;
    }
    void leave(Slab*& list) {
        (before ? before->after : list) = after;
        if (after) after->before = before;
    }
};

struct FramePool::Holder {
    FramePool* pool = new FramePool;
    ~Holder() { pool->orphan(); }
};

FramePool& FramePool::here() {
    thread_local Holder holder;
    return *holder.pool;
}

FramePool::~FramePool() {
    while (spare_) munmap(std::exchange(spare_, spare_->after), slab_size);
}

FramePool::Slab* FramePool::slab_for(std::size_t size_class) noexcept {
    static_assert(sizeof(Slab) <= Slab::head);
    if (with_room_[size_class]) return with_room_[size_class];
    if (has_returned_.load(std::memory_order_acquire)) take_returned();
    void* memory = spare_;
    if (memory) {
        spare_ = spare_->after;
        --spares_;
    } else {
        memory = map_slab();
        if (!memory) return nullptr;
        ++slabs_;
    }
    auto* slab = ::new (memory) Slab{this, nullptr, nullptr, nullptr, size_class, 0, 0};
    slab->join(with_room_[size_class]);
    return slab;
}

void FramePool::retire(Slab* slab) noexcept {
    if (spares_ >= spares_max) {
        munmap(slab, slab_size);
        --slabs_;
        return;
    }
    slab->after = std::exchange(spare_, slab);
    ++spares_;
}

void* FramePool::take(std::size_t size) noexcept {
    if (refuse_in_ != 0 && --refuse_in_ == 0) return nullptr;
    void* frame = nullptr;
    if (!pooled || size > pooled_max) {
        frame = ::operator new(size, std::nothrow);
    } else if (Slab* slab = slab_for(class_of(size))) {
        frame = slab->take();
        if (slab->full()) slab->leave(with_room_[slab->size_class]);
    }
    if (!frame) return nullptr;
    ++alive_;
    alive_bytes_ += size;
    return frame;
}

void FramePool::give_back(void* frame, std::size_t size) noexcept {
    if (pooled && size <= pooled_max) {
        Slab* slab = Slab::of(frame);
        check(slab->size_class == class_of(size) && slab->used > 0);
        if (slab->owner != this) return slab->owner->come_back(frame, size);
        put(slab, frame);
    } else {
        ::operator delete(frame);
    }
    --alive_;
    alive_bytes_ -= size;
}

void FramePool::put(Slab* slab, void* frame) noexcept {
    const bool was_full = slab->full();
    slab->put(frame);
    Slab*& list = with_room_[slab->size_class];
    if (was_full) slab->join(list);
    if (slab->used > 0) return;
    slab->leave(list);
    retire(slab);
}

void FramePool::come_back(void* frame, std::size_t size) noexcept {
    std::unique_lock held(lock_);
    returned_.push_back({frame, size});
    has_returned_.store(true, std::memory_order_release);
    if (!orphaned_) return;
    held.unlock();  // nobody else knows this pool any more but frames that come back later
    take_returned();
    if (alive_ == 0) delete this;
}

void FramePool::take_returned() noexcept {
    std::vector<Returned> returned;
    {
        std::lock_guard held(lock_);
        returned.swap(returned_);
        has_returned_.store(false, std::memory_order_release);
    }
    for (const Returned& each : returned) {
        put(Slab::of(each.frame), each.frame);
        --alive_;
        alive_bytes_ -= each.size;
    }
}

void FramePool::orphan() noexcept {
    take_returned();
    {
        std::lock_guard held(lock_);
        orphaned_ = true;
    }
    // Without slabs nothing leads back here.
    if (!pooled || alive_ == 0) delete this;
}

}  // namespace culvert::io
