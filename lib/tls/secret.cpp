#include "lib/tls/secret.h"

#include "lib/base/check.h"

#include <algorithm>
#include <openssl/crypto.h>

namespace culvert::tls {

void cleanse(Bytes bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

Secret::Secret(std::size_t size) : size_(size) { check(size <= capacity); }

Secret::Secret(ConstBytes bytes) : Secret(bytes.size()) { std::ranges::copy(bytes, bytes_.begin()); }

Secret::Secret(Secret&& other) noexcept : bytes_(other.bytes_), size_(other.size_) { other.wipe(); }

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this != &other) {
        wipe();
        bytes_ = other.bytes_;
        size_ = other.size_;
        other.wipe();
    }
    return *this;
}

void Secret::wipe() {
    cleanse(bytes_);
    size_ = 0;
}

SecretText::SecretText(SecretText&& other) noexcept : text_(other.text_) { other.wipe(); }

SecretText& SecretText::operator=(SecretText&& other) noexcept {
    if (this != &other) {
        wipe();
        // A short string lives inside the object: a move would leave its bytes behind, so both kinds are
        // copied.
        text_ = other.text_;
        other.wipe();
    }
    return *this;
}

void SecretText::wipe() {
    OPENSSL_cleanse(text_.data(), text_.size());
    text_.clear();
}

}  // namespace culvert::tls
