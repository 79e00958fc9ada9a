/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Addresses in one form for both families: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (kernel fact
 * 17). Pure; compiled into BPF and into unit tests. All 16 bytes decide: a test that looked at byte 12 alone
 * would let 2001:db8::7f00:1 pass for 127.0.0.1. */
#ifndef CULVERT_BPF_ADDRESS_H
#define CULVERT_BPF_ADDRESS_H

#include "bpf/abi.h"

#define CV_PURE static inline __attribute__((always_inline, unused))

/* Word by word: both the verifier and the compiler know how to load an aligned word from a stack slot. */
struct cv_words {
    __u32 word[4];
};

CV_PURE struct cv_words cv_words_of(const __u8* ip) {
    struct cv_words words;
    __builtin_memcpy(&words, ip, 16);
    return words;
}

CV_PURE __u32 cv_network_u32(__u32 host) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(host) : host;
}

CV_PURE int cv_same_ip(const __u8* a, const __u8* b) {
    struct cv_words x = cv_words_of(a), y = cv_words_of(b);
    return x.word[0] == y.word[0] && x.word[1] == y.word[1] && x.word[2] == y.word[2] &&
           x.word[3] == y.word[3];
}

CV_PURE int cv_is_v4(const __u8* ip) {
    struct cv_words x = cv_words_of(ip);
    return x.word[0] == 0 && x.word[1] == 0 && x.word[2] == cv_network_u32(0xffff);
}

/* 127/8 or ::1 */
CV_PURE int cv_is_loopback(const __u8* ip) {
    struct cv_words x = cv_words_of(ip);
    if (x.word[0] != 0 || x.word[1] != 0) return 0;
    if (x.word[2] == cv_network_u32(0xffff)) return cv_network_u32(x.word[3]) >> 24 == 127;
    return x.word[2] == 0 && x.word[3] == cv_network_u32(1);
}

/* 0.0.0.0 or :: ; connect() to it reaches the pod itself */
CV_PURE int cv_is_unspecified(const __u8* ip) {
    struct cv_words x = cv_words_of(ip);
    return x.word[0] == 0 && x.word[1] == 0 && (x.word[2] == 0 || x.word[2] == cv_network_u32(0xffff)) &&
           x.word[3] == 0;
}

CV_PURE void cv_set_v4(__u8* ip, __u32 network_order) {
    struct cv_words words = {{0, 0, cv_network_u32(0xffff), network_order}};
    __builtin_memcpy(ip, &words, 16);
}

CV_PURE __u32 cv_v4_of(const __u8* ip) { return cv_words_of(ip).word[3]; }

#endif
