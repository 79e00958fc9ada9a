/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * The part of the kernel's types that our programs use: written by hand, small enough to read, the same on
 * every build machine. Program contexts and constants are UAPI (linux/bpf.h); `tcp_sock` is relocated by its
 * BTF at load time (CO-RE), so only the names of its fields matter. */
#ifndef CULVERT_BPF_VMLINUX_H
#define CULVERT_BPF_VMLINUX_H

typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u64 u64;
typedef _Bool bool;

enum { false = 0, true = 1 };

enum bpf_map_type {
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_PERCPU_ARRAY = 6,
    BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
    BPF_MAP_TYPE_SOCKHASH = 18,
    BPF_MAP_TYPE_SK_STORAGE = 24,
    BPF_MAP_TYPE_RINGBUF = 27,
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_CLONE = 512 };
enum { BPF_SK_STORAGE_GET_F_CREATE = 1 };
enum { BPF_SK_LOOKUP_F_NO_REUSEPORT = 2 };

enum sk_action { SK_DROP = 0, SK_PASS = 1 };

enum {
    BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
    BPF_SOCK_OPS_STATE_CB = 10,
    BPF_SOCK_OPS_TCP_LISTEN_CB = 11,
};
enum { BPF_SOCK_OPS_STATE_CB_FLAG = 4 };
enum { BPF_TCP_SYN_SENT = 2, BPF_TCP_CLOSE = 7 };

enum { AF_INET = 2, AF_INET6 = 10 };
enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_MPTCP = 262 };
enum { SOL_IP = 0, SOL_IPV6 = 41 };
enum { EPERM = 1, ENOMEM = 12, EINVAL = 22 };

struct bpf_sock {
    __u32 bound_dev_if, family, type, protocol, mark, priority;
    __u32 src_ip4;
    __u32 src_ip6[4];
    __u32 src_port; /* host order */
    __be16 dst_port;
    __be16 zero;
    __u32 dst_ip4;
    __u32 dst_ip6[4];
    __u32 state;
    __s32 rx_queue_mapping;
};

struct bpf_sock_addr {
    __u32 user_family;
    __u32 user_ip4;    /* network order */
    __u32 user_ip6[4]; /* network order */
    __u32 user_port;   /* network order */
    __u32 family, type, protocol;
    __u32 msg_src_ip4;
    __u32 msg_src_ip6[4];
    union {
        struct bpf_sock* sk;
        __u64 sk_alignment;
    };
};

struct bpf_sock_ops {
    __u32 op;
    __u32 args[4];
    __u32 family;
    __u32 remote_ip4, local_ip4;
    __u32 remote_ip6[4], local_ip6[4];
    __u32 remote_port; /* network order */
    __u32 local_port;  /* host order */
    __u32 is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags, state, rtt_min, snd_ssthresh, rcv_nxt,
        snd_nxt, snd_una;
    __u32 mss_cache, ecn_flags, rate_delivered, rate_interval_us, packets_out, retrans_out, total_retrans,
        segs_in;
    __u32 data_segs_in, segs_out, data_segs_out, lost_out, sacked_out, sk_txhash;
    __u64 bytes_received, bytes_acked;
    union {
        struct bpf_sock* sk;
        __u64 sk_alignment;
    };
};

struct bpf_sk_lookup {
    __u64 cookie;
    __u32 family, protocol;
    __u32 remote_ip4;
    __u32 remote_ip6[4];
    __be16 remote_port;
    __u16 zero;
    __u32 local_ip4;
    __u32 local_ip6[4];
    __u32 local_port; /* host order */
    __u32 ingress_ifindex;
};

struct bpf_sockopt {
    union {
        struct bpf_sock* sk;
        __u64 sk_alignment;
    };
    union {
        void* optval;
        __u64 optval_alignment;
    };
    union {
        void* optval_end;
        __u64 optval_end_alignment;
    };
    __s32 level, optname, optlen, retval;
};

struct in_addr {
    __be32 s_addr;
};
struct sockaddr_in {
    __u16 sin_family;
    __be16 sin_port;
    struct in_addr sin_addr;
    __u8 zero[8];
};
struct sockaddr_in6 {
    __u16 sin6_family;
    __be16 sin6_port;
    __be32 sin6_flowinfo;
    __u8 sin6_addr[16];
    __u32 sin6_scope_id;
};

struct tcp_sock {
    __u32 rcv_nxt;
    __u32 write_seq;
} __attribute__((preserve_access_index));

struct mptcp_sock;

#endif
