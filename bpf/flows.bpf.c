/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * sockops: ties the two ends of a connection inside one machine together. The initiator leaves a record with
 * its SYN's sequence number at CONNECT_CB; the socket that is accepted claims it at PASSIVE_ESTABLISHED,
 * before anyone can see that socket; whatever was not claimed goes when the initiator closes. Also: ztunnel's
 * listeners announce themselves here. Attached to the same cgroup as capture, which must hold pods, ztunnel
 * and the node's own processes alike.
 *
 * A record is never deleted earlier than PASSIVE_ESTABLISHED: with SYN cookies the last ACK of the handshake
 * passes sk_lookup a second time (kernel fact 19). */
#include "bpf/decide.h"
#include "bpf/maps.h"
#include "bpf/report.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the agent before loading: how long a node's connection may take to be accepted. */
const volatile __u64 cv_approval_ns = 60000000000ull;

struct cv_ends {
    struct cv_address local, remote;
};

static __always_inline bool cv_ends_of(struct bpf_sock_ops* ops, struct cv_ends* ends) {
    /* Volatile, and before the branch: else the compiler merges two loads into one from a modified context
     * pointer, which does not verify. */
    volatile struct bpf_sock_ops* fields = ops;
    __u32 local_ip4 = fields->local_ip4, remote_ip4 = fields->remote_ip4;
    if (ops->family == AF_INET) {
        cv_set_v4(ends->local.ip, local_ip4);
        cv_set_v4(ends->remote.ip, remote_ip4);
    } else if (ops->family == AF_INET6) {
        struct cv_words local = {
            {ops->local_ip6[0], ops->local_ip6[1], ops->local_ip6[2], ops->local_ip6[3]}};
        struct cv_words remote = {
            {ops->remote_ip6[0], ops->remote_ip6[1], ops->remote_ip6[2], ops->remote_ip6[3]}};
        __builtin_memcpy(ends->local.ip, &local, 16);
        __builtin_memcpy(ends->remote.ip, &remote, 16);
    } else {
        return false;
    }
    ends->local.port = ops->local_port;
    ends->remote.port = bpf_ntohl(ops->remote_port);
    return true;
}

static __always_inline void cv_tell_me_the_end(struct bpf_sock_ops* ops) {
    bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline bool cv_leave_record(struct cv_client* client) {
    struct cv_record record = {.original = client->original, .isn = client->isn, .role = client->role};
    void* records = bpf_map_lookup_elem(&cv_records, &client->pod);
    if (records && !bpf_map_update_elem(records, &client->flow, &record, BPF_ANY)) {
        cv_count(CV_OUT_RECORD_LEFT);
        return true;
    }
    cv_refused(CV_OUT_RECORD_LIMIT, client->pod, &client->flow);
    return false; /* its SYN finds no record and is dropped: refused (S6) */
}

static __always_inline bool cv_leave_approval(struct cv_client* client) {
    struct cv_approval approval = {.expires_ns = bpf_ktime_get_ns() + cv_approval_ns, .isn = client->isn};
    void* approvals = bpf_map_lookup_elem(&cv_approvals, &client->pod);
    if (approvals && !bpf_map_update_elem(approvals, &client->flow, &approval, BPF_ANY)) {
        cv_count(CV_OUT_NODE_APPROVED);
        return true;
    }
    cv_refused(CV_OUT_APPROVAL_LIMIT, client->pod, &client->flow);
    return false; /* goes to ztunnel as a stranger's would */
}

static __always_inline bool cv_leave_pending(struct cv_ours* ours) {
    struct cv_pending pending = {.client = ours->client, .isn = ours->isn};
    void* pendings = bpf_map_lookup_elem(&cv_pendings, &ours->pod);
    if (pendings && !bpf_map_update_elem(pendings, &ours->flow, &pending, BPF_ANY)) {
        cv_count(CV_OUT_CLIENT_LEFT);
        return true;
    }
    cv_refused(CV_OUT_PENDING_LIMIT, ours->pod, &ours->flow);
    return false; /* CLIENT_BOUND stays 0 and ztunnel resets before it has sent a byte (S3) */
}

/* Inside the pod: towards its own address or loopback. Anything else of ztunnel leaves the pod and needs no
 * client. */
static __always_inline bool cv_stays_inside(struct bpf_sock_ops* ops, const struct cv_ends* ends) {
    if (cv_is_loopback(ends->remote.ip)) return true;
    __u64 cookie = bpf_get_netns_cookie(ops);
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    if (!pod) return false; /* not a pod's namespace */
    return cv_same_ip(ends->remote.ip, pod->ip4) || cv_same_ip(ends->remote.ip, pod->ip6);
}

static __always_inline void cv_ours_connects(struct bpf_sock_ops* ops, struct cv_ours* ours,
                                             const struct cv_ends* ends) {
    if (!ours->pod || !cv_stays_inside(ops, ends))
        return; /* a tunnel to another node, or the control plane */
    if (cv_leave_pending(ours)) cv_tell_me_the_end(ops);
    if (cv_is_loopback(ends->local.ip)) return; /* decision 2: passes by its source */
    /* From the pod's own address: it looks like a self call, and needs a record like one (S1). */
    struct cv_client self = {.flow = ours->flow, .pod = ours->pod, .isn = ours->isn};
    if (cv_leave_record(&self)) cv_tell_me_the_end(ops);
}

static __always_inline void cv_on_connect(struct bpf_sock_ops* ops, struct bpf_sock* sk, __u32 isn) {
    struct cv_ends ends = {};
    struct cv_client* client = bpf_sk_storage_get(&cv_client_sk, sk, 0, 0);
    struct cv_ours* ours = client ? 0 : bpf_sk_storage_get(&cv_ours_sk, sk, 0, 0);
    if (!client && !ours) return; /* nothing of ours */
    if (!cv_ends_of(ops, &ends)) return;
    if (ours) {
        ours->flow.source = ends.local;
        ours->flow.destination = ends.remote;
        ours->isn = isn;
        cv_ours_connects(ops, ours, &ends);
        return;
    }
    client->flow.source = ends.local;
    client->flow.destination = ends.remote;
    client->isn = isn;
    if (client->kind == CV_CLIENT_SELF && cv_is_loopback(ends.remote.ip))
        return; /* connect(0.0.0.0) became loopback */
    bool left = client->kind == CV_CLIENT_NODE ? cv_leave_approval(client) : cv_leave_record(client);
    if (left) cv_tell_me_the_end(ops);
}

/* An accepted socket of ztunnel learns where the app wanted to go. */
static __always_inline void cv_claim_record(struct bpf_sock* sk, const struct cv_record* record, __u32 pod,
                                            const struct cv_flow* flow) {
    struct cv_address original = record->original;
    struct cv_listener* listener = bpf_sk_storage_get(&cv_listener_sk, sk, 0, 0);
    if (!listener || listener->role != record->role) {
        cv_refused(CV_OUT_RECORD_MISPLACED, pod, flow);
        return; /* ztunnel gets no answer and closes; an app that got here learns nothing */
    }
    if (bpf_sk_storage_get(&cv_accepted_sk, sk, &original, BPF_SK_STORAGE_GET_F_CREATE))
        cv_count(CV_OUT_RECORD_BOUND);
    else
        cv_refused(CV_OUT_NO_MEMORY, pod, flow); /* no answer: ztunnel closes */
}

/* The app's socket learns who really speaks. */
static __always_inline void cv_claim_pending(struct bpf_sock* sk, struct cv_pending* pending, __u32 pod,
                                             const struct cv_flow* flow) {
    struct cv_address client = pending->client;
    if (!bpf_sk_storage_get(&cv_peer_sk, sk, &client, BPF_SK_STORAGE_GET_F_CREATE)) {
        cv_refused(CV_OUT_NO_MEMORY, pod, flow);
        return; /* stays unbound: ztunnel resets (S3) */
    }
    pending->bound = 1; /* kept until ztunnel has asked, or closes */
    cv_count(CV_OUT_CLIENT_BOUND);
}

static __always_inline void cv_on_accepted(struct bpf_sock_ops* ops, struct bpf_sock* sk, __u32 isn) {
    struct cv_ends ends = {};
    __u64 cookie = bpf_get_netns_cookie(ops);
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    if (!pod || !cv_ends_of(ops, &ends)) return; /* not in the mesh */
    struct cv_flow flow = {.source = ends.remote, .destination = ends.local};
    __u32 id = pod->id;

    void* records = bpf_map_lookup_elem(&cv_records, &id);
    struct cv_record* record = records ? bpf_map_lookup_elem(records, &flow) : 0;
    if (record && record->isn == isn) {
        if (record->role) cv_claim_record(sk, record, id, &flow);
        bpf_map_delete_elem(records, &flow);
        if (record->role) return;
    } else if (record) {
        cv_refused(CV_OUT_RECORD_STALE, id,
                   &flow); /* a later connection's: this socket learns nothing (fact 11) */
        return;
    }
    void* pendings = bpf_map_lookup_elem(&cv_pendings, &id);
    struct cv_pending* pending = pendings ? bpf_map_lookup_elem(pendings, &flow) : 0;
    if (pending) {
        if (pending->isn == isn) cv_claim_pending(sk, pending, id, &flow);
        return; /* an earlier connection's entry does not speak for this one */
    }
    void* approvals = bpf_map_lookup_elem(&cv_approvals, &id);
    if (approvals) bpf_map_delete_elem(approvals, &flow); /* used up */
}

/* What nobody claimed goes with its initiator; a later connection's entry of the same tuple stays. */
static __always_inline void cv_on_closed(struct bpf_sock* sk, bool refused) {
    struct cv_client* client = bpf_sk_storage_get(&cv_client_sk, sk, 0, 0);
    if (client && client->kind == CV_CLIENT_NODE) {
        void* approvals = bpf_map_lookup_elem(&cv_approvals, &client->pod);
        struct cv_approval* approval = approvals ? bpf_map_lookup_elem(approvals, &client->flow) : 0;
        if (approval && approval->isn == client->isn) bpf_map_delete_elem(approvals, &client->flow);
    } else if (client) {
        void* records = bpf_map_lookup_elem(&cv_records, &client->pod);
        struct cv_record* record = records ? bpf_map_lookup_elem(records, &client->flow) : 0;
        if (record && record->isn == client->isn) bpf_map_delete_elem(records, &client->flow);
    }
    struct cv_ours* ours = bpf_sk_storage_get(&cv_ours_sk, sk, 0, 0);
    if (ours) {
        void* pendings = bpf_map_lookup_elem(&cv_pendings, &ours->pod);
        struct cv_pending* pending = pendings ? bpf_map_lookup_elem(pendings, &ours->flow) : 0;
        if (pending && pending->isn == ours->isn) bpf_map_delete_elem(pendings, &ours->flow);
        void* records = bpf_map_lookup_elem(&cv_records, &ours->pod);
        struct cv_record* record = records ? bpf_map_lookup_elem(records, &ours->flow) : 0;
        if (record && record->isn == ours->isn) bpf_map_delete_elem(records, &ours->flow);
    }
    if (refused) cv_count(CV_OUT_CONNECT_FAILED);
}

/* An empty slot first, and the newest last; with both taken the older one goes (S8). */
static __always_inline bool cv_take_slot(struct bpf_sock_ops* ops, __u32 pod, __u32 role) {
    struct cv_listener_key order = {pod, role, 0};
    __u32* known = bpf_map_lookup_elem(&cv_newest, &order);
    __u32 newest = known ? *known & 1 : 1, older = newest ^ 1;
    struct cv_listener_key to_older = {pod, role, older}, to_newest = {pod, role, newest};
    __u32 taken = older;
    if (bpf_sock_hash_update(ops, &cv_listeners, &to_older, BPF_NOEXIST)) {
        if (!bpf_sock_hash_update(ops, &cv_listeners, &to_newest, BPF_NOEXIST))
            taken = newest;
        else if (bpf_sock_hash_update(ops, &cv_listeners, &to_older, BPF_ANY))
            return false;
    }
    return !bpf_map_update_elem(&cv_newest, &order, &taken, BPF_ANY);
}

static __always_inline void cv_on_listen(struct bpf_sock_ops* ops, struct bpf_sock* sk) {
    struct cv_listener* listener = bpf_sk_storage_get(&cv_listener_sk, sk, 0, 0);
    if (!listener) return; /* an app's, or one of ztunnel's that is no door */
    struct cv_flow flow = {.destination = {.port = ops->local_port}};
    __u64 cookie = bpf_get_netns_cookie(ops);
    struct cv_pod* pod = bpf_map_lookup_elem(&cv_pods, &cookie);
    listener->port = ops->local_port;
    if (pod && cv_take_slot(ops, pod->id, listener->role))
        cv_count(CV_OUT_LISTENING);
    else
        cv_refused(CV_OUT_LISTEN_FAILED, pod ? pod->id : 0,
                   &flow); /* not enrolled yet: contract b's order was broken */
}

SEC("sockops") int cv_link_ends(struct bpf_sock_ops* ops) {
    struct bpf_sock* sk = ops->sk;
    struct tcp_sock* tcp;
    if (!sk) return 1; /* a request socket: nothing hangs on those */
    switch (ops->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
        tcp = bpf_skc_to_tcp_sock(sk);
        if (tcp) cv_on_connect(ops, sk, tcp->write_seq); /* the SYN's: not yet incremented here */
        break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        tcp = bpf_skc_to_tcp_sock(sk);
        if (tcp) cv_on_accepted(ops, sk, tcp->rcv_nxt - 1);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        if (ops->args[1] == BPF_TCP_CLOSE) cv_on_closed(sk, ops->args[0] == BPF_TCP_SYN_SENT);
        break;
    case BPF_SOCK_OPS_TCP_LISTEN_CB: cv_on_listen(ops, sk); break;
    default: break;
    }
    return 1;
}
