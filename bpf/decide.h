/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Verdicts, pure: where does an app's connect go, and who gets a SYN that arrives in a pod. Compiled into the
 * programs and into unit tests (test/unit/agent/decide_test.cpp), so that a table pins them without a kernel.
 * Whatever needs a map or a helper is looked up by the caller and handed in as a fact. */
#ifndef CULVERT_BPF_DECIDE_H
#define CULVERT_BPF_DECIDE_H

#include "bpf/address.h"

#define CV_DNS_PORT 53

enum cv_action {
    CV_LEAVE,         /* as if we were not there */
    CV_REMEMBER_SELF, /* untouched, but CONNECT_CB leaves a record: else its SYN would look like a forged one
                         (S1) */
    CV_REDIRECT,
    CV_REFUSE,
    CV_STEER, /* to the listener of `role` */
    CV_DROP,
};

struct cv_verdict {
    enum cv_action action;
    enum cv_outcome outcome;
    __u32 role;
    struct cv_address to;
};

CV_PURE struct cv_verdict cv_just(enum cv_action action, enum cv_outcome outcome) {
    struct cv_verdict verdict;
    __builtin_memset(&verdict, 0, sizeof verdict);
    verdict.action = action;
    verdict.outcome = outcome;
    return verdict;
}

CV_PURE int cv_is_reserved(__u16 port) {
    return port >= CV_RESERVED_FIRST && port < CV_RESERVED_FIRST + CV_RESERVED_SIZE;
}

/* Ports that belong to the mesh inside a pod: nobody outside may name them (S8). 15008 is not among them: it
 * is the door. */
CV_PURE int cv_is_mesh_port(__u16 port) {
    return port == CV_PORT_OUTBOUND || port == CV_PORT_INBOUND || port == CV_PORT_DNS ||
           port == CV_PORT_SOCKS || cv_is_reserved(port);
}

/* Spread over the reserved range by target and by chance: connections to one target do not share one tuple
 * space, where finding a free source port costs milliseconds after some 15,000 of them (decision 1).
 * Multiplier: Knuth's 2^32 / phi. */
CV_PURE __u16 cv_reserved_port(const struct cv_address* target, __u32 chance) {
    struct cv_words words = cv_words_of(target->ip);
    __u32 mixed =
        (words.word[0] ^ words.word[1] ^ words.word[2] ^ words.word[3] ^ target->port ^ chance) * 2654435761u;
    return (__u16)(CV_RESERVED_FIRST + (mixed >> 26)); /* the upper 6 bits: 0 to 63 */
}

/* A TCP connect() in a pod's namespace. `ours`: a socket of ztunnel. */
CV_PURE struct cv_verdict cv_capture(const struct cv_pod* pod, int ours, const struct cv_address* to,
                                     __u32 chance) {
    struct cv_verdict verdict;
    const __u8* own = cv_is_v4(to->ip) ? pod->ip4 : pod->ip6;

    if (ours)
        return cv_just(CV_LEAVE, CV_OUT_OURS); /* never capture ourselves: an endless loop (kernel fact 16) */
    if (!(pod->flags & CV_POD_CAPTURE)) return cv_just(CV_LEAVE, CV_OUT_END); /* enrolment is not complete */
    if (cv_is_loopback(to->ip)) return cv_just(CV_LEAVE, CV_OUT_LOOPBACK);    /* an app talking to itself */
    /* The kernel turns it into loopback or, for a bound socket, into the pod's own address. */
    if (cv_is_unspecified(to->ip)) return cv_just(CV_REMEMBER_SELF, CV_OUT_LOOPBACK);
    /* Rewriting to an address of zeroes would reach the pod's own loopback (kernel contract f). */
    if (cv_is_unspecified(own)) return cv_just(CV_REFUSE, CV_OUT_NO_ADDRESS);
    if (cv_same_ip(to->ip, own)) return cv_just(CV_REMEMBER_SELF, CV_OUT_SELF_CALL);

    verdict = cv_just(CV_REDIRECT, CV_OUT_CAPTURED);
    verdict.role = to->port == CV_DNS_PORT && (pod->flags & CV_POD_DNS) ? CV_ROLE_DNS : CV_ROLE_OUTBOUND;
    __builtin_memcpy(verdict.to.ip, own,
                     16); /* not loopback: source and device stay what the app expects (fact 10) */
    verdict.to.port = cv_reserved_port(to, chance);
    return verdict;
}

/* A UDP datagram or connect() in a pod's namespace. */
CV_PURE struct cv_verdict cv_capture_dns(const struct cv_pod* pod, int ours, const struct cv_address* to,
                                         __u16 listener) {
    struct cv_verdict verdict;
    const __u8* own = cv_is_v4(to->ip) ? pod->ip4 : pod->ip6;

    if (to->port != CV_DNS_PORT)
        return cv_just(CV_LEAVE, CV_OUT_END);        /* UDP other than DNS is outside the mesh (S13) */
    if (ours) return cv_just(CV_LEAVE, CV_OUT_OURS); /* ztunnel asking the real resolver */
    if (!(pod->flags & CV_POD_DNS)) return cv_just(CV_LEAVE, CV_OUT_END);
    if (cv_is_loopback(to->ip) || cv_is_unspecified(to->ip)) return cv_just(CV_LEAVE, CV_OUT_LOOPBACK);
    if (cv_is_unspecified(own)) return cv_just(CV_REFUSE, CV_OUT_NO_ADDRESS);
    if (cv_same_ip(to->ip, own)) return cv_just(CV_LEAVE, CV_OUT_SELF_CALL);

    verdict = cv_just(CV_REDIRECT, CV_OUT_DNS_REDIRECTED);
    verdict.role = CV_ROLE_DNS;
    __builtin_memcpy(verdict.to.ip, own, 16);
    verdict.to.port = listener;
    return verdict;
}

CV_PURE struct cv_verdict cv_steer(__u32 role) {
    enum cv_outcome outcome = role == CV_ROLE_OUTBOUND  ? CV_OUT_STEERED_OUTBOUND
                              : role == CV_ROLE_INBOUND ? CV_OUT_STEERED_INBOUND
                              : role == CV_ROLE_HBONE   ? CV_OUT_STEERED_HBONE
                                                        : CV_OUT_STEERED_DNS;
    struct cv_verdict verdict = cv_just(CV_STEER, outcome);
    verdict.role = role;
    return verdict;
}

/* A SYN, or the last ACK of a handshake with SYN cookies, that arrives in an enrolled pod. */
struct cv_arrival {
    const struct cv_flow* flow;
    const struct cv_record* record;     /* of this pod, for this tuple, or null */
    const struct cv_approval* approval; /* likewise */
    __u64 now_ns;
    int bypass_inbound; /* ambient.istio.io/bypass-inbound-capture: HBONE alone is ours */
};

CV_PURE struct cv_verdict cv_deliver(const struct cv_arrival* arrival) {
    const struct cv_address *from = &arrival->flow->source, *to = &arrival->flow->destination;
    const struct cv_record* record = arrival->record;

    /* Only a process in the pod has such a source; the kernel drops it as martian from anywhere else.
     * Ztunnel's connections to the app are among these (decision 2). */
    if (cv_is_loopback(from->ip) && !(record && record->role)) {
        if (!cv_is_loopback(to->ip) && cv_is_reserved(to->port)) return cv_just(CV_DROP, CV_OUT_NO_RECORD);
        return cv_just(CV_LEAVE, CV_OUT_PASSED_LOOPBACK);
    }
    if (record && record->role) return cv_steer(record->role);
    if (record) return cv_just(CV_LEAVE, CV_OUT_PASSED_SELF);
    if (cv_is_reserved(to->port)) return cv_just(CV_DROP, CV_OUT_NO_RECORD);
    /* A connection of the pod to itself has a record; this one came from outside and lies (S1). */
    if (cv_same_ip(from->ip, to->ip)) return cv_just(CV_DROP, CV_OUT_SPOOFED_SELF);
    if (to->port == CV_PORT_HBONE) return cv_steer(CV_ROLE_HBONE);
    if (cv_is_mesh_port(to->port)) return cv_just(CV_DROP, CV_OUT_RESERVED_PORT);
    if (arrival->bypass_inbound) return cv_just(CV_LEAVE, CV_OUT_PASSED_BYPASS);
    if (arrival->approval && arrival->approval->expires_ns > arrival->now_ns)
        return cv_just(CV_LEAVE, CV_OUT_PASSED_APPROVED);
    return cv_steer(CV_ROLE_INBOUND);
}

/* A datagram for ztunnel's DNS port: it answers its own pod only. */
CV_PURE struct cv_verdict cv_deliver_dns(const struct cv_flow* flow) {
    if (cv_is_loopback(flow->source.ip)) return cv_just(CV_LEAVE, CV_OUT_PASSED_DNS);
    if (cv_same_ip(flow->source.ip, flow->destination.ip)) return cv_just(CV_LEAVE, CV_OUT_PASSED_DNS);
    return cv_just(CV_DROP, CV_OUT_DNS_FROM_OUTSIDE);
}

/* What ztunnel is told about a plaintext connection that sk_lookup steered to it: the socket's own address,
 * unless nobody steered it, because it was made to the listener's own port or over loopback (S8: never a
 * target). */
CV_PURE int cv_is_inbound_target(const struct cv_address* local, __u16 listener_port) {
    return local->port != listener_port && !cv_is_loopback(local->ip) && !cv_is_unspecified(local->ip);
}

#endif
