#include "lib/tls/aead.h"

#include "lib/base/check.h"

#include <openssl/evp.h>

namespace culvert::tls {
namespace {

// Fetched once for the life of the process: EVP_aes_128_gcm() would be fetched again at each init, under a
// lock.
const EVP_CIPHER* algorithm(Suite suite) {
    static EVP_CIPHER* const aes_128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
    static EVP_CIPHER* const aes_256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
    return suite == Suite::aes_128_gcm_sha256 ? aes_128 : aes_256;
}

}  // namespace

void Aead::Free::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }

Aead::Aead(Suite suite, const Secret& key, Use use) : context_(EVP_CIPHER_CTX_new()) {
    check(key.size() == key_size(suite));
    check(EVP_CipherInit_ex2(context_.get(), algorithm(suite), raw(key.reveal().data()), nullptr,
                             use == Use::seal, nullptr) == 1);
}

std::size_t Aead::seal(const Nonce& nonce, ConstBytes header, std::span<const ConstBytes> pieces,
                       std::byte last, Bytes out) {
    EVP_CIPHER_CTX* context = context_.get();
    std::size_t size = 0;
    for (ConstBytes piece : pieces) size += piece.size();
    check(out.size() >= size + 1 + tag_size);

    int done = 0;
    check(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, raw(nonce.data())) == 1);
    check(EVP_EncryptUpdate(context, nullptr, &done, raw(header.data()), static_cast<int>(header.size())) ==
          1);
    std::byte* at = out.data();
    for (ConstBytes piece : pieces) {
        if (piece.empty()) continue;
        check(EVP_EncryptUpdate(context, raw(at), &done, raw(piece.data()), static_cast<int>(piece.size())) ==
              1);
        at += piece.size();
    }
    check(EVP_EncryptUpdate(context, raw(at), &done, raw(&last), 1) == 1);
    ++at;
    check(EVP_EncryptFinal_ex(context, raw(at), &done) == 1);
    check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag_size, at) == 1);
    return size + 1 + tag_size;
}

bool Aead::open(const Nonce& nonce, ConstBytes header, Bytes text) {
    EVP_CIPHER_CTX* context = context_.get();
    check(text.size() > tag_size);
    const Bytes body = text.first(text.size() - tag_size);
    int done = 0;
    check(EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, raw(nonce.data())) == 1);
    check(EVP_DecryptUpdate(context, nullptr, &done, raw(header.data()), static_cast<int>(header.size())) ==
          1);
    check(EVP_DecryptUpdate(context, raw(body.data()), &done, raw(body.data()),
                            static_cast<int>(body.size())) == 1);
    check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag_size, text.data() + body.size()) == 1);
    return EVP_DecryptFinal_ex(context, raw(body.data() + body.size()), &done) == 1;
}

}  // namespace culvert::tls
