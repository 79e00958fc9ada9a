// A descriptor with one owner. Closed by its destructor; whoever has operations in flight on it joins them
// first, so that its number is never reused under a running operation.
#pragma once
#include <utility>

namespace culvert {

class Fd {
public:
    Fd() = default;
    explicit Fd(int number) : number_(number) {}
    Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            number_ = std::exchange(other.number_, -1);
        }
        return *this;
    }
    ~Fd() { reset(); }

    int get() const { return number_; }
    bool open() const { return number_ >= 0; }
    [[nodiscard]] int release() { return std::exchange(number_, -1); }
    void reset();

private:
    int number_ = -1;
};

}  // namespace culvert
