/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * An enrolled pod's outbound TCP and DNS, and the node's own connections to its pods: connect, getpeername,
 * sendmsg and recvmsg of both families. Attached to the cgroup below which pods live; keyed by netns cookie,
 * so that it works for every runtime's cgroup layout and for pods that run already.
 *
 * A program returns 1 to let the call go on and 0 for EPERM. */
#include "bpf/decide.h"
#include "bpf/maps.h"
#include "bpf/report.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the agent before loading. */
const volatile __u64 cv_node_namespace = 0;     /* netns cookie of the node; 0 is no namespace's */
const volatile bool cv_probe_all_ports = false; /* S7: where pods' cgroups cannot be told from the node's */
const volatile bool cv_has_mptcp = false; /* the kernel knows mptcp_sock; else the helper would not verify */

#define CV_GROUP_DEPTH                                                                                       \
    8 /* kubepods.slice/kubepods-burstable.slice/pod/container has 4; systemd adds some                      \
       */

static __always_inline void cv_load_ip6(struct bpf_sock_addr* ctx, __u8* ip) {
    struct cv_words words = {{ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
    __builtin_memcpy(ip, &words, 16);
}

static __always_inline void cv_store_ip6(struct bpf_sock_addr* ctx, const __u8* ip) {
    struct cv_words words = cv_words_of(ip);
    ctx->user_ip6[0] = words.word[0];
    ctx->user_ip6[1] = words.word[1];
    ctx->user_ip6[2] = words.word[2];
    ctx->user_ip6[3] = words.word[3];
}

static __always_inline bool cv_is_ours(struct bpf_sock* sk) {
    if (bpf_sk_storage_get(&cv_ours_sk, sk, 0, 0)) return true; /* created in ztunnel's group */
    __u64 group = bpf_get_current_cgroup_id();
    return bpf_map_lookup_elem(&cv_ztunnels, &group) != 0; /* or used by a process that is in it */
}

static __always_inline bool cv_in_pod_group(void) {
    for (int level = 1; level <= CV_GROUP_DEPTH; level++) {
        __u64 group = bpf_get_current_ancestor_cgroup_id(level);
        if (!group) return false; /* above ourselves there are no more levels */
        if (bpf_map_lookup_elem(&cv_pod_groups, &group)) return true;
    }
    return false;
}

/* Ztunnel connects inside a pod: whoever it speaks for, the app must not take it for itself (S3). */
static __always_inline void cv_note_ours(struct bpf_sock* sk, __u32 pod) {
    struct cv_ours* ours = bpf_sk_storage_get(&cv_ours_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (ours)
        ours->pod = pod; /* without it no pending client is left, and ztunnel is told so by CLIENT_BOUND */
}

/* The node's own process connects to a pod of this node: kubelet's probes (S7, kernel fact 23). */
static __always_inline void cv_approve(struct bpf_sock* sk, const struct cv_address* to) {
    __u32* pod = bpf_map_lookup_elem(&cv_local, to->ip);
    if (!pod) return;           /* not a pod of ours: nothing to approve */
    if (cv_is_ours(sk)) return; /* ztunnel is not a probe */
    if (!cv_probe_all_ports) {
        struct cv_probe_port key = {*pod, to->port};
        if (!bpf_map_lookup_elem(&cv_probe_ports, &key))
            return; /* not declared for probes: to ztunnel, like others */
    }
    if (cv_in_pod_group()) return; /* a pod in the node's namespace is not the node */
    struct cv_client client = {.kind = CV_CLIENT_NODE, .pod = *pod, .original = *to};
    /* Without storage the connection is not approved, and goes to ztunnel: closed enough. */
    bpf_sk_storage_get(&cv_client_sk, sk, &client, BPF_SK_STORAGE_GET_F_CREATE);
}

/* Keeps where the app wanted to go. Without memory the connection is refused, never let out in the clear. */
static __always_inline bool cv_remember(struct bpf_sock* sk, const struct cv_client* client) {
    if (!bpf_sk_storage_get(&cv_client_sk, sk, (void*)client, BPF_SK_STORAGE_GET_F_CREATE)) return false;
    if (!cv_has_mptcp || client->kind != CV_CLIENT_CAPTURED) return true;
    struct mptcp_sock* mptcp = bpf_skc_to_mptcp_sock(sk);
    if (!mptcp) return true; /* an ordinary TCP socket */
    struct cv_address* known = bpf_sk_storage_get(&cv_mptcp_sk, (struct bpf_sock*)mptcp,
                                                  (void*)&client->original, BPF_SK_STORAGE_GET_F_CREATE);
    if (known) *known = client->original; /* getpeername alone would miss it: no reason to refuse */
    return true;
}

static __always_inline int cv_connect_tcp(struct bpf_sock* sk, struct cv_pod* pod, struct cv_address* to) {
    bool ours = cv_is_ours(sk);
    if (ours) cv_note_ours(sk, pod->id);
    struct cv_verdict verdict = cv_capture(pod, ours, to, bpf_get_prandom_u32());
    if (verdict.action == CV_REFUSE) {
        struct cv_flow flow = {.destination = *to};
        cv_refused(verdict.outcome, pod->id, &flow);
        return -1;
    }
    if (verdict.outcome != CV_OUT_END) cv_count(verdict.outcome);
    if (verdict.action == CV_LEAVE) return 0;

    struct cv_client client = {.original = *to, .pod = pod->id, .role = verdict.role};
    client.kind = verdict.action == CV_REDIRECT ? CV_CLIENT_CAPTURED : CV_CLIENT_SELF;
    if (!cv_remember(sk, &client)) {
        struct cv_flow flow = {.destination = *to};
        cv_refused(CV_OUT_NO_MEMORY, pod->id, &flow);
        return -1;
    }
    if (verdict.action != CV_REDIRECT) return 0;
    *to = verdict.to;
    return 1;
}

static __always_inline int cv_query_udp(struct bpf_sock* sk, struct cv_pod* pod, struct cv_address* to) {
    if (to->port != CV_DNS_PORT) return 0; /* the common case first: nothing else of UDP is ours */
    __u32 id = pod->id;
    __u32* announced = bpf_map_lookup_elem(&cv_dns_ports, &id);
    __u16 listener = announced && *announced ? *announced : CV_PORT_DNS;
    struct cv_verdict verdict = cv_capture_dns(pod, cv_is_ours(sk), to, listener);
    struct cv_flow flow = {.destination = *to};
    if (verdict.action == CV_REFUSE) {
        cv_refused(verdict.outcome, id, &flow);
        return -1;
    }
    if (verdict.outcome != CV_OUT_END) cv_count(verdict.outcome);
    if (verdict.action != CV_REDIRECT) return 0;

    struct cv_client fresh = {.kind = CV_CLIENT_DNS, .pod = id, .original = *to};
    fresh.flow.destination = verdict.to;
    struct cv_client* client = bpf_sk_storage_get(&cv_client_sk, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE);
    if (!client) {
        cv_refused(CV_OUT_NO_MEMORY, id, &flow);
        return -1; /* its answer would come from a stranger */
    }
    *client = fresh; /* one socket may ask several resolvers: the last one counts (kernel fact 21) */
    *to = verdict.to;
    return 1;
}

/* -1 refuse, 0 leave alone, 1 *to has changed. */
static __always_inline int cv_connect(struct bpf_sock_addr* ctx, struct cv_address* to) {
    struct bpf_sock* sk = ctx->sk;
    if (!sk) return 0; /* connect always has a socket; the verifier wants to hear it */
    bpf_sk_storage_delete(&cv_client_sk,
                          sk); /* what an earlier connect left would answer for this one (S2) */
    __u64 cookie = bpf_get_netns_cookie(ctx);
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    if (!pod) {
        if (cookie == cv_node_namespace && ctx->protocol == IPPROTO_TCP) cv_approve(sk, to);
        return 0; /* not in the mesh */
    }
    if (ctx->protocol == IPPROTO_TCP) return cv_connect_tcp(sk, pod, to);
    if (ctx->protocol == IPPROTO_UDP) return cv_query_udp(sk, pod, to);
    return 0; /* SCTP and others are outside the mesh */
}

static __always_inline int cv_sendmsg(struct bpf_sock_addr* ctx, struct cv_address* to) {
    struct bpf_sock* sk = ctx->sk;
    if (!sk || to->port != CV_DNS_PORT) return 0; /* only DNS: nothing else is even looked up */
    __u64 cookie = bpf_get_netns_cookie(ctx);
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    return pod ? cv_query_udp(sk, pod, to) : 0;
}

static __always_inline struct cv_address cv_target4(struct bpf_sock_addr* ctx) {
    struct cv_address to = {.port = bpf_ntohs(ctx->user_port)};
    cv_set_v4(to.ip, ctx->user_ip4);
    return to;
}

static __always_inline struct cv_address cv_target6(struct bpf_sock_addr* ctx) {
    struct cv_address to = {.port = bpf_ntohs(ctx->user_port)};
    cv_load_ip6(ctx, to.ip);
    return to;
}

static __always_inline int cv_goes4(struct bpf_sock_addr* ctx, int changed, const struct cv_address* to) {
    if (changed < 0) return 0;
    if (changed) {
        ctx->user_ip4 = cv_v4_of(to->ip);
        ctx->user_port = bpf_htons(to->port);
    }
    return 1;
}

static __always_inline int cv_goes6(struct bpf_sock_addr* ctx, int changed, const struct cv_address* to) {
    if (changed < 0) return 0;
    if (changed) {
        cv_store_ip6(ctx, to->ip);
        ctx->user_port = bpf_htons(to->port);
    }
    return 1;
}

SEC("cgroup/connect4") int cv_connect4(struct bpf_sock_addr* ctx) {
    struct cv_address to = cv_target4(ctx);
    int changed = cv_connect(ctx, &to);
    return cv_goes4(ctx, changed, &to);
}

SEC("cgroup/connect6") int cv_connect6(struct bpf_sock_addr* ctx) {
    struct cv_address to = cv_target6(ctx);
    int changed = cv_connect(ctx, &to);
    return cv_goes6(ctx, changed, &to);
}

SEC("cgroup/sendmsg4") int cv_sendmsg4(struct bpf_sock_addr* ctx) {
    struct cv_address to = cv_target4(ctx);
    int changed = cv_sendmsg(ctx, &to);
    return cv_goes4(ctx, changed, &to);
}

SEC("cgroup/sendmsg6") int cv_sendmsg6(struct bpf_sock_addr* ctx) {
    struct cv_address to = cv_target6(ctx);
    int changed = cv_sendmsg(ctx, &to);
    return cv_goes6(ctx, changed, &to);
}

/* Whom a socket of an app believes to talk to: the real client of what it accepted, or what it asked for. */
static __always_inline struct cv_address* cv_peer(struct bpf_sock_addr* ctx) {
    struct bpf_sock* sk = ctx->sk;
    if (!sk) return 0; /* getpeername always has a socket */
    struct cv_address* peer = bpf_sk_storage_get(&cv_peer_sk, sk, 0, 0);
    if (peer) return peer;
    struct cv_client* client = bpf_sk_storage_get(&cv_client_sk, sk, 0, 0);
    if (client && (client->kind == CV_CLIENT_CAPTURED || client->kind == CV_CLIENT_DNS))
        return &client->original;
    return bpf_sk_storage_get(&cv_mptcp_sk, sk, 0, 0);
}

SEC("cgroup/getpeername4") int cv_getpeername4(struct bpf_sock_addr* ctx) {
    struct cv_address* peer = cv_peer(ctx);
    if (!peer) return 1; /* nothing of ours */
    /* A client of the other family cannot be said here: unspecified, never loopback or the pod's own address
     * (S3). */
    bool sayable = cv_is_v4(peer->ip);
    ctx->user_ip4 = sayable ? cv_v4_of(peer->ip) : 0;
    ctx->user_port = sayable ? bpf_htons(peer->port) : 0;
    return 1;
}

SEC("cgroup/getpeername6") int cv_getpeername6(struct bpf_sock_addr* ctx) {
    struct cv_address* peer = cv_peer(ctx);
    if (!peer) return 1; /* nothing of ours */
    cv_store_ip6(ctx, peer->ip);
    ctx->user_port = bpf_htons(peer->port);
    return 1;
}

/* An answer of ztunnel's listener looks as if it came from the resolver that was asked. */
static __always_inline struct cv_address* cv_resolver(struct bpf_sock_addr* ctx,
                                                      const struct cv_address* from) {
    struct bpf_sock* sk = ctx->sk;
    struct cv_client* client = sk ? bpf_sk_storage_get(&cv_client_sk, sk, 0, 0) : 0;
    if (!client || client->kind != CV_CLIENT_DNS) return 0; /* asked nobody through us */
    if (from->port != client->flow.destination.port) return 0;
    if (!cv_same_ip(from->ip, client->flow.destination.ip)) return 0; /* somebody else's datagram */
    return &client->original;
}

SEC("cgroup/recvmsg4") int cv_recvmsg4(struct bpf_sock_addr* ctx) {
    struct cv_address from = cv_target4(ctx);
    struct cv_address* resolver = cv_resolver(ctx, &from);
    if (resolver) {
        ctx->user_ip4 = cv_v4_of(resolver->ip);
        ctx->user_port = bpf_htons(resolver->port);
    }
    return 1;
}

SEC("cgroup/recvmsg6") int cv_recvmsg6(struct bpf_sock_addr* ctx) {
    struct cv_address from = cv_target6(ctx);
    struct cv_address* resolver = cv_resolver(ctx, &from);
    if (resolver) {
        cv_store_ip6(ctx, resolver->ip);
        ctx->user_port = bpf_htons(resolver->port);
    }
    return 1;
}
