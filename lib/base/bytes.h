// Bytes: spans, big-endian access, and the flat encoding in which values travel from one process of a machine
// to the next (hand-over). No I/O, no clock, no chance.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace culvert {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;

// A Buffer whose resize() writes no zeroes first: for bytes that a cipher or a recv is about to overwrite.
template <class T> struct NoInit : std::allocator<T> {
    template <class U> struct rebind {
        using other = NoInit<U>;
    };
    template <class U> void construct(U* at) noexcept { ::new (static_cast<void*>(at)) U; }
    template <class U, class... A> void construct(U* at, A&&... arguments) {
        ::new (static_cast<void*>(at)) U(std::forward<A>(arguments)...);
    }
};
using OutBuffer = std::vector<std::byte, NoInit<std::byte>>;

inline ConstBytes as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(ConstBytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
// By memcpy: an insert of a range copies byte by byte where the allocator constructs nothing.
template <class B> void append(B& to, ConstBytes from) {
    if (from.empty()) return;
    const std::size_t before = to.size();
    to.resize(before + from.size());
    std::memcpy(to.data() + before, from.data(), from.size());
}

inline unsigned char* raw(std::byte* at) { return reinterpret_cast<unsigned char*>(at); }
inline const unsigned char* raw(const std::byte* at) { return reinterpret_cast<const unsigned char*>(at); }

// `bytes` is 1 to 8.
inline void put_big_endian(std::byte* at, std::uint64_t value, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) at[i] = std::byte(value >> (8 * (bytes - 1 - i)));
}
inline std::uint64_t get_big_endian(const std::byte* at, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | std::to_integer<std::uint64_t>(at[i]);
    return value;
}

// Writes values in the machine's own byte order, one behind the other.
class Encoder {
public:
    explicit Encoder(Buffer& to) : to_(to) {}
    template <class T>
        requires std::is_integral_v<T> || std::is_enum_v<T>
    void number(T value) {
        auto at = reinterpret_cast<const std::byte*>(&value);
        to_.insert(to_.end(), at, at + sizeof value);
    }
    void fixed(ConstBytes value) { append(to_, value); }
    void bytes(ConstBytes value) {
        number(static_cast<std::uint32_t>(value.size()));
        append(to_, value);
    }
    void text(std::string_view value) { bytes(as_bytes(value)); }

private:
    Buffer& to_;
};

// Reads what Encoder wrote. A short or lying input makes ok() false for good and yields zeroes; nothing is
// ever read outside `from`.
class Decoder {
public:
    explicit Decoder(ConstBytes from) : from_(from) {}
    template <class T>
        requires std::is_integral_v<T> || std::is_enum_v<T>
    T number() {
        T value{};
        if (from_.size() < sizeof value) {
            ok_ = false;
            return value;
        }
        std::memcpy(&value, from_.data(), sizeof value);
        from_ = from_.subspan(sizeof value);
        return value;
    }
    ConstBytes fixed(std::size_t size) {
        if (from_.size() < size) {
            ok_ = false;
            return {};
        }
        ConstBytes value = from_.first(size);
        from_ = from_.subspan(size);
        return value;
    }
    ConstBytes bytes() {
        auto size = number<std::uint32_t>();
        return ok_ ? fixed(size) : ConstBytes{};
    }
    std::string_view text() { return as_text(bytes()); }
    bool ok() const { return ok_; }
    bool at_end() const { return from_.empty(); }

private:
    ConstBytes from_;
    bool ok_ = true;
};

}  // namespace culvert
