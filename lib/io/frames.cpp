#include "lib/io/frames.h"

#include <new>
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

}  // namespace

FramePool& FramePool::here() {
    thread_local FramePool pool;
    return pool;
}

FramePool::~FramePool() {
    for (Free* list : free_)
        while (list) ::operator delete(std::exchange(list, list->next));
}

void* FramePool::take(std::size_t size) noexcept {
    if (refuse_in_ != 0 && --refuse_in_ == 0) return nullptr;
    void* frame = nullptr;
    if (!pooled || size > pooled_max) {
        frame = ::operator new(size, std::nothrow);
    } else if (Free*& list = free_[class_of(size)]; list) {
        frame = std::exchange(list, list->next);
        cached_bytes_ -= bytes_of(class_of(size));
    } else {
        frame = ::operator new(bytes_of(class_of(size)), std::nothrow);
    }
    if (!frame) return nullptr;
    ++alive_;
    alive_bytes_ += size;
    return frame;
}

void FramePool::give_back(void* frame, std::size_t size) noexcept {
    --alive_;
    alive_bytes_ -= size;
    if (!pooled || size > pooled_max || cached_bytes_ >= cached_max) {
        ::operator delete(frame);
        return;
    }
    cached_bytes_ += bytes_of(class_of(size));
    Free*& list = free_[class_of(size)];
    list = ::new (frame) Free{list};
}

}  // namespace culvert::io
