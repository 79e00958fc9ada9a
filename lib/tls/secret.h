// Memory that holds keys: zeroed when it goes, moved but never copied, and not convertible to anything that a
// log line takes. Whoever needs the bytes says so by name (`reveal`), which is what a reviewer greps for.
#pragma once
#include "lib/base/bytes.h"

#include <array>
#include <string>
#include <string_view>

namespace culvert::tls {

void cleanse(Bytes bytes);  // not optimised away

// At most `capacity` bytes, inside the object: traffic secrets (32 or 48), AEAD keys (16 or 32).
class Secret {
public:
    static constexpr std::size_t capacity = 48;

    Secret() = default;
    explicit Secret(std::size_t size);  // zeroes, to be written through writable()
    explicit Secret(ConstBytes bytes);  // at most `capacity`
    Secret(Secret&& other) noexcept;
    Secret& operator=(Secret&& other) noexcept;
    ~Secret() { wipe(); }

    std::size_t size() const { return size_; }
    ConstBytes reveal() const { return ConstBytes(bytes_).first(size_); }
    Bytes writable() { return Bytes(bytes_).first(size_); }
    void wipe();  // afterwards size() is 0

private:
    std::array<std::byte, capacity> bytes_{};
    std::size_t size_ = 0;
};

// A text that holds a private key or a token.
class SecretText {
public:
    SecretText() = default;
    explicit SecretText(std::string&& text) : text_(std::move(text)) {}
    SecretText(SecretText&& other) noexcept;
    SecretText& operator=(SecretText&& other) noexcept;
    ~SecretText() { wipe(); }

    std::string_view reveal() const { return text_; }
    bool empty() const { return text_.empty(); }
    void wipe();

private:
    std::string text_;
};

}  // namespace culvert::tls
