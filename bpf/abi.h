/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * What crosses the boundary between kernel programs, the agent that owns them and ztunnel, which only ever
 * sees sockets. Compiled as C into BPF and as C++ into the agent, lib/io and unit tests. Addresses are 16
 * bytes in network order, IPv4 as ::ffff:a.b.c.d (kernel fact 17); ports are host order unless a name ends in
 * _be. Padding is explicit and zero: map keys are hashed as bytes. */
#ifndef CULVERT_BPF_ABI_H
#define CULVERT_BPF_ABI_H

#ifdef __cplusplus
#include <linux/types.h>
#include <type_traits>
#define CULVERT_LAYOUT(type, size)                                                                           \
    static_assert(sizeof(struct type) == (size));                                                            \
    static_assert(std::has_unique_object_representations_v<struct type>)
#else
#include "bpf/vmlinux.h"
#define CULVERT_LAYOUT(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#endif

/* The layout of everything below that is pinned. An agent that finds another number in bpffs loads beside
 * what is there and moves the links over (kernel contract j). */
#define CV_ABI_VERSION 1

/* Private socket options of ztunnel's own sockets (kernel fact 15). A process outside ztunnel's cgroup gets
 * ENOPROTOOPT. */
#define CV_SOL_MESH 0x4d53
/* set, struct cv_address, before connect(): whom the app's socket will see as its peer */
#define CV_OPT_REAL_CLIENT 1
/* set, __u32 of cv_role, before listen() (UDP: before or after bind()): announces a listener, whatever its
 * port (S8) */
#define CV_OPT_ROLE 2
/* get, __u32: 1 once the app's socket carries the real client (S3), else 0. Over loopback the answer may
 * still be 0 for some microseconds after connect() has returned, and stays 0 while the app's accept queue is
 * full or defers. */
#define CV_OPT_CLIENT_BOUND 3

enum cv_role { CV_ROLE_OUTBOUND = 1, CV_ROLE_INBOUND = 2, CV_ROLE_HBONE = 3, CV_ROLE_DNS = 4, CV_ROLE_END };

/* ztunnel's usual ports. Nobody outside a pod may name one as a destination, whoever listens there (S8). */
#define CV_PORT_OUTBOUND 15001
#define CV_PORT_INBOUND 15006
#define CV_PORT_HBONE 15008
#define CV_PORT_DNS 15053
#define CV_PORT_SOCKS 15080
/* Captured connections are sent to one of these ports of the pod's own address, so that they do not share one
 * tuple space (decision 1). Nobody listens there: sk_lookup steers them by their record. A power of two;
 * below the ephemeral ports. */
#define CV_RESERVED_FIRST 15104
#define CV_RESERVED_SIZE 64

struct cv_address {
    __u8 ip[16];
    __u16 port;
    __u16 zero;
} __attribute__((aligned(4)));
CULVERT_LAYOUT(cv_address, 20);

/* One connection as its initiator sees it. */
struct cv_flow {
    struct cv_address source;
    struct cv_address destination;
};
CULVERT_LAYOUT(cv_flow, 40);

/* A pod's network namespace; the key is its cookie. An address that is all zero is one that the pod does not
 * have. */
#define CV_POD_CAPTURE 1u /* outbound TCP goes to ztunnel */
#define CV_POD_DNS 2u     /* so does DNS over UDP */
struct cv_pod {
    __u8 ip4[16];
    __u8 ip6[16];
    __u32 id; /* slot of the per-pod maps, 1 to CV_PODS_MAX - 1 */
    __u32 flags;
};
CULVERT_LAYOUT(cv_pod, 40);

/* Whose namespace a cookie is, for agents only: "namespace/name" of the pod, at most 63 + 1 + 253 letters. */
struct cv_name {
    __u8 text[320];
};
CULVERT_LAYOUT(cv_name, 320);

/* What the initiator left for the other end: written at CONNECT_CB, bound at PASSIVE_ESTABLISHED (kernel fact
 * 11). */
struct cv_record {
    struct cv_address original;
    __u32 isn; /* of the initiator's SYN: proves that it is this connection and not an earlier one of the same
                  tuple */
    __u32 role; /* cv_role of the listener it is meant for; 0: the pod calls itself */
};
CULVERT_LAYOUT(cv_record, 28);

/* Whom a connection of ztunnel to the app speaks for; unspecified if it did not say (S3). */
struct cv_pending {
    struct cv_address client;
    __u32 isn;
    __u32 bound; /* 1: the app's socket carries it */
};
CULVERT_LAYOUT(cv_pending, 28);

/* A connection from the node itself that may reach the app natively (S7). */
struct cv_approval {
    __u64 expires_ns; /* bpf_ktime_get_ns() */
    __u32 isn;
    __u32 zero;
};
CULVERT_LAYOUT(cv_approval, 16);

struct cv_probe_port {
    __u32 pod;
    __u32 port;
};
CULVERT_LAYOUT(cv_probe_port, 8);

/* Two slots a role: a successor that dies leaves its predecessor in place (S8). */
#define CV_SLOTS 2
struct cv_listener_key {
    __u32 pod;
    __u16 role;
    __u16 slot;
};
CULVERT_LAYOUT(cv_listener_key, 8);

/* Bounds; docs/limits.md has the arithmetic. */
#define CV_PODS_MAX 1024
#define CV_RECORDS_MAX 4096       /* per pod: captured connects between SYN and accept queue */
#define CV_PENDINGS_MAX 4096      /* per pod: ztunnel's connections to the app until asked for */
#define CV_APPROVALS_MAX 512      /* per pod: node connections between SYN and accept queue */
#define CV_PROBE_PORTS_MAX 32     /* per pod */
#define CV_REFUSALS_PER_SECOND 32 /* per outcome: events to the ring buffer; counters are exact */

/* Every way out of a program. X(name, word, refusal): the word is the metric's label and what status prints.
 */
#define CV_OUTCOMES(X)                                                                                       \
    X(CAPTURED, "captured", 0)                                                                               \
    X(SELF_CALL, "self_call", 0)                                                                             \
    X(LOOPBACK, "loopback", 0)                                                                               \
    X(OURS, "ztunnel_own", 0)                                                                                \
    X(DNS_REDIRECTED, "dns_redirected", 0)                                                                   \
    X(NODE_APPROVED, "node_approved", 0)                                                                     \
    X(NO_ADDRESS, "no_address_of_family", 1)                                                                 \
    X(NO_MEMORY, "no_memory", 1)                                                                             \
    X(RECORD_LIMIT, "record_limit", 1)                                                                       \
    X(PENDING_LIMIT, "pending_limit", 1)                                                                     \
    X(APPROVAL_LIMIT, "approval_limit", 1)                                                                   \
    X(RECORD_LEFT, "record_left", 0)                                                                         \
    X(RECORD_BOUND, "record_bound", 0)                                                                       \
    X(RECORD_STALE, "record_of_another_connection", 1)                                                       \
    X(RECORD_MISPLACED, "record_for_another_listener", 1)                                                    \
    X(CLIENT_LEFT, "client_left", 0)                                                                         \
    X(CLIENT_BOUND, "client_bound", 0)                                                                       \
    X(CONNECT_FAILED, "connect_failed", 0)                                                                   \
    X(LISTENING, "listener_announced", 0)                                                                    \
    X(LISTEN_FAILED, "listener_not_announced", 1)                                                            \
    X(STEERED_OUTBOUND, "steered_outbound", 0)                                                               \
    X(STEERED_INBOUND, "steered_inbound", 0)                                                                 \
    X(STEERED_HBONE, "steered_hbone", 0)                                                                     \
    X(STEERED_DNS, "steered_dns", 0)                                                                         \
    X(PASSED_LOOPBACK, "passed_loopback", 0)                                                                 \
    X(PASSED_SELF, "passed_self", 0)                                                                         \
    X(PASSED_APPROVED, "passed_approved", 0)                                                                 \
    X(PASSED_BYPASS, "passed_bypass", 0)                                                                     \
    X(PASSED_DNS, "passed_dns", 0)                                                                           \
    X(NO_LISTENER, "no_listener", 1)                                                                         \
    X(NO_RECORD, "no_record", 1)                                                                             \
    X(SPOOFED_SELF, "source_is_destination", 1)                                                              \
    X(RESERVED_PORT, "reserved_port", 1)                                                                     \
    X(DNS_FROM_OUTSIDE, "dns_from_outside", 1)                                                               \
    X(ORIGINAL_ANSWERED, "original_answered", 0)                                                             \
    X(ORIGINAL_UNKNOWN, "original_unknown", 0)

enum cv_outcome {
#define X(name, word, refusal) CV_OUT_##name,
    CV_OUTCOMES(X)
#undef X
        CV_OUT_END
};

/* One refusal, for the ring buffer. */
struct cv_refusal {
    __u64 time_ns; /* bpf_ktime_get_ns() */
    __u32 outcome;
    __u32 pod;
    struct cv_flow flow;
};
CULVERT_LAYOUT(cv_refusal, 56);

struct cv_rate {
    __u64 second;
    __u64 used;
};
CULVERT_LAYOUT(cv_rate, 16);

#endif
