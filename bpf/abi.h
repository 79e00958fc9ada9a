/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What crosses the boundary between kernel programs, the agent that owns them and ztunnel, which only ever sees sockets.
 * Compiled as C into BPF and as C++ into the agent, lib/io and unit tests. Addresses are 16 bytes in network order, IPv4 as
 * ::ffff:a.b.c.d (kernel fact 17); ports are host order unless a name ends in _be. Padding is explicit and zero: map keys
 * are hashed as bytes. */
#ifndef CULVERT_BPF_ABI_H
#define CULVERT_BPF_ABI_H

#ifdef __cplusplus
#include <cstdint>
#include <type_traits>
using __u8 = std::uint8_t;
using __u16 = std::uint16_t;
using __u32 = std::uint32_t;
using __u64 = std::uint64_t;
#define CULVERT_LAYOUT(type, size)                                                                           \
    static_assert(sizeof(struct type) == (size));                                                            \
    static_assert(std::has_unique_object_representations_v<struct type>)
#else
#define CULVERT_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#endif

/* Private socket options of ztunnel's own sockets (kernel fact 15). A process outside ztunnel's cgroup gets ENOPROTOOPT. */
#define CV_SOL_MESH 0x4d53
#define CV_OPT_REAL_CLIENT 1  /* set, struct cv_address, before connect(): whom the app's socket will see as its peer */
#define CV_OPT_ROLE 2         /* set, __u32 of cv_role, before listen(): announces a listener, whatever its port (S8) */
#define CV_OPT_CLIENT_BOUND 3 /* get, __u32: 1 once the app's socket carries the real client (S3), else 0 */

enum cv_role { CV_ROLE_OUTBOUND = 1, CV_ROLE_INBOUND = 2, CV_ROLE_HBONE = 3, CV_ROLE_DNS = 4, CV_ROLE_END };

struct cv_address {
    __u8 ip[16];
    __u16 port;
    __u16 zero;
};
CULVERT_LAYOUT(cv_address, 20);

#endif
