// A reference-counted, immutable value whose count lives inside it: one pointer wide, one allocation, for
// records that a snapshot holds by the million. A T derives from Counted<T>, is never changed once Shared
// holds it, and may be held and let go from any thread. Everything else that is published uses
// std::shared_ptr<const T>.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace culvert {

template <class T> class Counted {
public:
    Counted() = default;
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

private:
    template <class> friend class Shared;
    mutable std::atomic<std::uint32_t> holders_{0};
};

template <class T> class Shared {
public:
    Shared() = default;
    Shared(std::nullptr_t) {}
    explicit Shared(const T* value) : value_(value) { hold(); }
    Shared(const Shared& other) : value_(other.value_) { hold(); }
    Shared(Shared&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
    Shared& operator=(Shared other) noexcept {
        std::swap(value_, other.value_);
        return *this;
    }
    ~Shared() {
        // Whoever lets go last must see what the others did before they let go.
        if (value_ && value_->holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete value_;
    }

    const T* get() const { return value_; }
    const T& operator*() const { return *value_; }
    const T* operator->() const { return value_; }
    explicit operator bool() const { return value_ != nullptr; }
    friend bool operator==(const Shared& a, const Shared& b) { return a.value_ == b.value_; }

private:
    void hold() const {
        if (value_) value_->holders_.fetch_add(1, std::memory_order_relaxed);
    }
    const T* value_ = nullptr;
};

}  // namespace culvert
