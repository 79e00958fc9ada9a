/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * All that ztunnel needs to know of any of this, as socket options: where an accepted connection wanted to
 * go, and, the other way, whom a connection to the app speaks for. Attached to ztunnel's own group: a socket
 * keeps its creator's group wherever it lives, so membership is identity (kernel contract a), and an app that
 * tries gets the kernel's own ENOPROTOOPT. Each call of any socket option by ztunnel costs half a microsecond
 * more (kernel fact 32). */
#include "bpf/decide.h"
#include "bpf/maps.h"
#include "bpf/report.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SO_ORIGINAL_DST 80

/* Every socket that ztunnel creates is tagged: it is exempt from capture whoever uses it later (kernel fact
 * 16). */
SEC("cgroup/sock_create") int cv_tag(struct bpf_sock* sk) {
    return bpf_sk_storage_get(&cv_ours_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) !=
           0; /* untagged it might loop: EPERM */
}

static __always_inline bool cv_original(struct bpf_sock* sk, struct cv_address* original) {
    struct cv_address* known = bpf_sk_storage_get(&cv_accepted_sk, sk, 0, 0);
    if (known) {
        *original = *known;
        return true;
    }
    struct cv_listener* listener = bpf_sk_storage_get(&cv_listener_sk, sk, 0, 0);
    if (!listener || listener->role != CV_ROLE_INBOUND)
        return false; /* outbound without a record: close it */
    /* Steered by sk_lookup: the destination is the socket's own address. Each field of a bpf_sock needs a
     * load of its own at a fixed offset, hence volatile, and the IPv4 one before the branch (kernel fact 12).
     */
    volatile struct bpf_sock* fields = sk;
    __u32 ip4 = fields->src_ip4;
    original->port = fields->src_port;
    if (fields->family == AF_INET) {
        cv_set_v4(original->ip, ip4);
    } else {
        struct cv_words words;
        words.word[0] = fields->src_ip6[0];
        words.word[1] = fields->src_ip6[1];
        words.word[2] = fields->src_ip6[2];
        words.word[3] = fields->src_ip6[3];
        __builtin_memcpy(original->ip, &words, 16);
    }
    return cv_is_inbound_target(original, listener->port);
}

/* SO_ORIGINAL_DST as iptables would answer it: SOL_IP for IPv4 destinations, SOL_IPV6 for the others (kernel
 * fact 9). */
static __always_inline int cv_answer_original(struct bpf_sockopt* ctx, struct bpf_sock* sk) {
    struct cv_address original = {};
    if (!cv_original(sk, &original)) {
        cv_count(CV_OUT_ORIGINAL_UNKNOWN);
        return 1; /* the kernel's own error stands */
    }
    bool v4 = cv_is_v4(original.ip);
    if (v4 != (ctx->level == SOL_IP))
        return 1; /* asked for the other family: fails, and the caller asks again */
    void* end = ctx->optval_end;
    if (v4) {
        struct sockaddr_in* to = ctx->optval;
        if ((void*)(to + 1) > end) return 1; /* no room */
        to->sin_family = AF_INET;
        to->sin_port = bpf_htons(original.port);
        to->sin_addr.s_addr = cv_v4_of(original.ip);
        ctx->optlen = sizeof *to;
    } else {
        struct sockaddr_in6* to = ctx->optval;
        if ((void*)(to + 1) > end) return 1; /* no room */
        to->sin6_family = AF_INET6;
        to->sin6_port = bpf_htons(original.port);
        to->sin6_flowinfo = 0;
        __builtin_memcpy(to->sin6_addr, original.ip, 16);
        to->sin6_scope_id = 0;
        ctx->optlen = sizeof *to;
    }
    /* Not through ctx->retval: the compiler may form a modified context pointer for it, which does not
     * verify. */
    bpf_set_retval(0);
    cv_count(CV_OUT_ORIGINAL_ANSWERED);
    return 1;
}

/* 1 once the app's socket carries the client; the entry has then done its work. */
static __always_inline __u32 cv_client_is_bound(struct bpf_sock* sk) {
    struct cv_ours* ours = bpf_sk_storage_get(&cv_ours_sk, sk, 0, 0);
    if (!ours) return 0;
    if (ours->bound) return 1;
    void* pendings = bpf_map_lookup_elem(&cv_pendings, &ours->pod);
    struct cv_pending* pending = pendings ? bpf_map_lookup_elem(pendings, &ours->flow) : 0;
    if (!pending || pending->isn != ours->isn || !pending->bound)
        return 0; /* not yet, or never: send nothing (S3) */
    ours->bound = 1;
    bpf_map_delete_elem(pendings, &ours->flow);
    return 1;
}

SEC("cgroup/getsockopt") int cv_getsockopt(struct bpf_sockopt* ctx) {
    struct bpf_sock* sk = ctx->sk;
    if (!sk) return 1; /* always there */
    if (ctx->optname == SO_ORIGINAL_DST && (ctx->level == SOL_IP || ctx->level == SOL_IPV6))
        return cv_answer_original(ctx, sk);
    if (ctx->level != CV_SOL_MESH || ctx->optname != CV_OPT_CLIENT_BOUND) return 1; /* the kernel's own */
    __u32* answer = ctx->optval;
    if ((void*)(answer + 1) > ctx->optval_end) return 1; /* no room: ENOPROTOOPT stands */
    *answer = cv_client_is_bound(sk);
    ctx->optlen = sizeof *answer;
    bpf_set_retval(0);
    return 1;
}

static __always_inline int cv_refuse_option(int error) {
    bpf_set_retval(-error);
    return 0;
}

static __always_inline int cv_set_client(struct bpf_sockopt* ctx, struct bpf_sock* sk) {
    struct cv_address* given = ctx->optval;
    if ((void*)(given + 1) > ctx->optval_end) return cv_refuse_option(EINVAL);
    struct cv_ours* ours = bpf_sk_storage_get(&cv_ours_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!ours) return cv_refuse_option(ENOMEM);
    ours->client = *given;
    ours->client.zero = 0;
    ours->bound = 0;
    return 1;
}

/* UDP has no listen(): its port is announced as soon as both the role and the port are known, whichever comes
 * first. */
static __always_inline int cv_announce_udp(__u64 cookie, __u32 port) {
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    if (!pod) return 0; /* not enrolled yet: contract b's order was broken */
    __u32 id = pod->id;
    if (bpf_map_update_elem(&cv_dns_ports, &id, &port, BPF_ANY))
        return 0; /* an id is always within the array */
    cv_count(CV_OUT_LISTENING);
    return 1;
}

/* TCP: announced at listen() by flows. */
static __always_inline int cv_set_role(struct bpf_sockopt* ctx, struct bpf_sock* sk) {
    __u32* given = ctx->optval;
    if ((void*)(given + 1) > ctx->optval_end) return cv_refuse_option(EINVAL);
    struct cv_listener fresh = {.role = *given};
    if (fresh.role == 0 || fresh.role >= CV_ROLE_END) return cv_refuse_option(EINVAL);
    struct cv_listener* listener =
        bpf_sk_storage_get(&cv_listener_sk, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
    if (!listener) return cv_refuse_option(ENOMEM);
    *listener = fresh;
    volatile struct bpf_sock* fields = sk;
    __u32 port = fields->src_port;
    if (fields->protocol != IPPROTO_UDP || !port) return 1; /* listen() or bind() will announce it */
    if (fresh.role != CV_ROLE_DNS) return cv_refuse_option(EINVAL);
    return cv_announce_udp(bpf_get_netns_cookie(ctx), port) ? 1 : cv_refuse_option(EINVAL);
}

static __always_inline int cv_bound(struct bpf_sock* sk) {
    if (sk->protocol != IPPROTO_UDP) return 1; /* TCP is announced at listen() */
    struct cv_listener* listener = bpf_sk_storage_get(&cv_listener_sk, sk, 0, 0);
    if (!listener) return 1;                     /* no door */
    if (listener->role != CV_ROLE_DNS) return 0; /* no other role has datagrams: bind() fails */
    return cv_announce_udp(bpf_get_netns_cookie(sk), sk->src_port);
}

SEC("cgroup/post_bind4") int cv_bound4(struct bpf_sock* sk) { return cv_bound(sk); }
SEC("cgroup/post_bind6") int cv_bound6(struct bpf_sock* sk) { return cv_bound(sk); }

SEC("cgroup/setsockopt") int cv_setsockopt(struct bpf_sockopt* ctx) {
    struct bpf_sock* sk = ctx->sk;
    if (ctx->level != CV_SOL_MESH) return 1;  /* the kernel's own */
    if (!sk) return cv_refuse_option(EINVAL); /* always there */
    int done = ctx->optname == CV_OPT_REAL_CLIENT ? cv_set_client(ctx, sk)
               : ctx->optname == CV_OPT_ROLE      ? cv_set_role(ctx, sk)
                                                  : cv_refuse_option(EINVAL);
    if (done) ctx->optlen = -1; /* the kernel's handler is not called */
    return done;
}
