/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Who gets a SYN that arrives in a pod: ztunnel, or the app where a record or an approval says so, and
 * nothing in between. sk_lookup, one loaded instance per pod: it cannot ask which namespace it runs in, so
 * each is told its pod in rodata (kernel fact 13). Packets of established connections never come here. */
#include "bpf/decide.h"
#include "bpf/maps.h"
#include "bpf/report.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 cv_pod_id = 0;
const volatile bool cv_bypass_inbound = false;

static __always_inline struct bpf_sock* cv_listener_in(__u32 role, __u32 slot) {
    struct cv_listener_key key = {cv_pod_id, role, slot};
    return bpf_map_lookup_elem(&cv_listeners, &key);
}

/* The slot that was announced last, else its predecessor: a successor that died leaves the old one in charge
 * (S8). */
static __always_inline struct bpf_sock* cv_listener_for(__u32 role) {
    struct cv_listener_key key = {cv_pod_id, role, 0};
    __u32* newest = bpf_map_lookup_elem(&cv_newest, &key);
    __u32 slot = newest ? *newest & 1 : 0;
    struct bpf_sock* listener = cv_listener_in(role, slot);
    return listener ? listener : cv_listener_in(role, slot ^ 1);
}

static __always_inline int cv_assign(struct bpf_sk_lookup* ctx, const struct cv_verdict* verdict,
                                     const struct cv_flow* flow) {
    struct bpf_sock* listener = cv_listener_for(verdict->role);
    if (!listener) {
        cv_refused(CV_OUT_NO_LISTENER, cv_pod_id, flow);
        return SK_DROP; /* no ztunnel: refused, never the app in the clear (kernel fact 27) */
    }
    /* Without the flag the kernel would spread SYNs over an old and a new ztunnel (kernel fact 28). */
    long failed = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_NO_REUSEPORT);
    bpf_sk_release(listener);
    if (failed) {
        cv_refused(CV_OUT_NO_LISTENER, cv_pod_id, flow);
        return SK_DROP; /* it stopped listening this moment */
    }
    cv_count(verdict->outcome);
    return SK_PASS;
}

static __always_inline int cv_deliver_tcp(struct bpf_sk_lookup* ctx, const struct cv_flow* flow) {
    __u32 pod = cv_pod_id;
    struct cv_arrival arrival = {
        .flow = flow, .now_ns = bpf_ktime_get_ns(), .bypass_inbound = cv_bypass_inbound};
    void* records = bpf_map_lookup_elem(&cv_records, &pod);
    if (records) arrival.record = bpf_map_lookup_elem(records, flow);
    void* approvals = bpf_map_lookup_elem(&cv_approvals, &pod);
    if (approvals && !arrival.record) arrival.approval = bpf_map_lookup_elem(approvals, flow);
    struct cv_verdict verdict = cv_deliver(&arrival);
    if (verdict.action == CV_STEER) return cv_assign(ctx, &verdict, flow);
    if (verdict.action == CV_DROP) {
        cv_refused(verdict.outcome, pod, flow);
        return SK_DROP; /* decide.h says why */
    }
    cv_count(verdict.outcome);
    return SK_PASS;
}

static __always_inline int cv_deliver_udp(const struct cv_flow* flow) {
    __u32 pod = cv_pod_id;
    __u32* announced = bpf_map_lookup_elem(&cv_dns_ports, &pod);
    __u16 listener = announced && *announced ? *announced : CV_PORT_DNS;
    if (flow->destination.port != listener) return SK_PASS; /* UDP other than DNS is outside the mesh (S13) */
    struct cv_verdict verdict = cv_deliver_dns(flow);
    if (verdict.action == CV_DROP) {
        cv_refused(verdict.outcome, pod, flow);
        return SK_DROP; /* ztunnel's resolver answers its own pod only (kernel fact 20) */
    }
    cv_count(verdict.outcome);
    return SK_PASS;
}

SEC("sk_lookup") int cv_lookup(struct bpf_sk_lookup* ctx) {
    struct cv_flow flow = {};
    if (ctx->family == AF_INET) {
        cv_set_v4(flow.source.ip, ctx->remote_ip4);
        cv_set_v4(flow.destination.ip, ctx->local_ip4);
    } else {
        struct cv_words remote = {
            {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
        struct cv_words local = {
            {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
        __builtin_memcpy(flow.source.ip, &remote, 16);
        __builtin_memcpy(flow.destination.ip, &local, 16);
    }
    flow.source.port = bpf_ntohs(ctx->remote_port);
    flow.destination.port = ctx->local_port;
    if (ctx->protocol == IPPROTO_TCP) return cv_deliver_tcp(ctx, &flow);
    if (ctx->protocol == IPPROTO_UDP) return cv_deliver_udp(&flow);
    return SK_PASS; /* the kernel asks for no other protocol */
}
