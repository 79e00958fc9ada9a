// OpenSSL for the .cpp files of this folder: owners of its objects, its errors as sentences, certificates as
// values. Nobody outside lib/tls includes this.
#pragma once
#include "lib/tls/certificate.h"
#include "lib/tls/secret.h"

#include <memory>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <span>
#include <vector>

namespace culvert::tls {

template <auto free> struct FreeWith {
    template <class T> void operator()(T* object) const { free(object); }
};
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using CsrPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;

constexpr std::size_t certificates_max = 64;  // in one PEM text: a chain has 2 or 3, roots in rotation 2
constexpr std::size_t pem_max = 512 * 1024;   // 64 certificates of 8 KB

// The oldest of this thread's OpenSSL errors, for people; the queue is empty afterwards.
std::string openssl_error();

// For PEM_read functions: their default asks for a password on the terminal, whoever sent the text.
int no_password(char*, int, int, void*);

BioPtr read_only(std::string_view text);  // `text` outlives it; at most pem_max bytes
std::string text_of(BIO* memory);

// The certificates of a PEM text in order; other blocks are passed over. `skip_bad` passes over what does not
// parse, too.
Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem, bool skip_bad);

CertificateInfo describe(X509* certificate);
std::string serial_of(const X509* certificate);
WallTime to_wall(const ASN1_TIME* time);
std::string to_pem(X509* certificate);

// Alternative names, to be put into a certificate or a request. add_* take a name as it is: no syntax of
// OpenSSL's configuration files is ever applied to it.
void add_uri(GENERAL_NAMES* names, std::string_view uri);
void add_dns(GENERAL_NAMES* names, std::string_view name);
void add_ip(GENERAL_NAMES* names, ConstBytes address);

// The one SPIFFE id among alternative names (H-11); more than one URI is refused whatever it says (S16).
Result<mesh::Identity> only_identity(const GENERAL_NAMES* names);
Result<mesh::Identity> only_identity(const X509* certificate);

}  // namespace culvert::tls
