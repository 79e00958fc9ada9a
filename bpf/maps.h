/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Every map once; above each: who writes, who reads, what an absent key means. All are pinned under the
 * layout version and shared by the four objects; the agent alone touches them from user space. */
#ifndef CULVERT_BPF_MAPS_H
#define CULVERT_BPF_MAPS_H

#include "bpf/vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/address.h"

/* Enrolled pods by netns cookie. Agent writes; all read. Absent: not in the mesh. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_PODS_MAX);
    __type(key, __u64);
    __type(value, struct cv_pod);
} cv_pods SEC(".maps");

/* Names of what is in cv_pods, for an agent that restarts. Agent writes and reads; no program does. Absent:
 * unknown. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_PODS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct cv_name);
} cv_names SEC(".maps");

/* Addresses of enrolled pods of this node: address to pod id. Agent writes; capture reads for the node's own
 * connections. Absent: not ours to approve. Two addresses a pod. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 2 * CV_PODS_MAX);
    __type(key, __u8[16]);
    __type(value, __u32);
} cv_local SEC(".maps");

/* Ports that a pod declares for probes and lifecycle hooks. Agent writes; capture reads. Absent: not approved
 * (S7). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_PODS_MAX* CV_PROBE_PORTS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_probe_port);
    __type(value, __u32);
} cv_probe_ports SEC(".maps");

/* Cgroup ids of ztunnel. Agent writes; capture reads. Empty: the agent must not switch capture on (kernel
 * fact 16). */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u64);
    __type(value, __u32);
} cv_ztunnels SEC(".maps");

/* Cgroup ids below which pods' processes live. Agent writes; capture reads: their sockets in the node's
 * namespace are not the node's (S7). Empty: the group cannot be told. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, __u64);
    __type(value, __u32);
} cv_pod_groups SEC(".maps");

/* What one pod's maps look like; the agent makes three for each pod (S6). They name sizes instead of types:
 * clang 19 emits only forward declarations for the types that an inner map points to. */
struct cv_records_of_pod {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_RECORDS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(key_size, sizeof(struct cv_flow));
    __uint(value_size, sizeof(struct cv_record));
};
struct cv_pendings_of_pod {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_PENDINGS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(key_size, sizeof(struct cv_flow));
    __uint(value_size, sizeof(struct cv_pending));
};
struct cv_approvals_of_pod {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_APPROVALS_MAX);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(key_size, sizeof(struct cv_flow));
    __uint(value_size, sizeof(struct cv_approval));
};

/* By pod id: what its connects left for the other end. flows writes and deletes; deliver and flows read. A
 * full inner map refuses that connection: without a record its SYN is dropped. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, CV_PODS_MAX);
    __type(key, __u32);
    __array(values, struct cv_records_of_pod);
} cv_records SEC(".maps");

/* By pod id: ztunnel's connections to the app, and whom they speak for. flows writes and deletes, answer
 * reads and deletes. Absent: nobody vouches for the connection, ztunnel must reset it (S3). */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, CV_PODS_MAX);
    __type(key, __u32);
    __array(values, struct cv_pendings_of_pod);
} cv_pendings SEC(".maps");

/* By pod id: connections of the node that reach the app natively. flows writes and deletes, deliver reads.
 * Absent: goes to ztunnel like anybody else's. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, CV_PODS_MAX);
    __type(key, __u32);
    __array(values, struct cv_approvals_of_pod);
} cv_approvals SEC(".maps");

/* ztunnel's listeners. flows writes at listen(); deliver reads; the kernel removes a socket that closes.
 * Absent: no ztunnel, SK_DROP (kernel fact 27). */
struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, CV_PODS_MAX*(CV_ROLE_END - 1) * CV_SLOTS);
    __type(key, struct cv_listener_key);
    __type(value, __u64);
} cv_listeners SEC(".maps");

/* Which slot of a role was announced last; the key's slot is 0. flows writes; deliver reads. Absent: slot 0.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, CV_PODS_MAX*(CV_ROLE_END - 1));
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct cv_listener_key);
    __type(value, __u32);
} cv_newest SEC(".maps");

/* UDP port of ztunnel's DNS listener by pod id. answer writes when ztunnel announces it; capture and deliver
 * read. 0: the usual one. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, CV_PODS_MAX);
    __type(key, __u32);
    __type(value, __u32);
} cv_dns_ports SEC(".maps");

/* Outcome counters; the key is a cv_outcome. All write; the agent reads and adds the CPUs up. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, CV_OUT_END);
    __type(key, __u32);
    __type(value, __u64);
} cv_counters SEC(".maps");

/* Refusals as events, at most CV_REFUSALS_PER_SECOND an outcome and second. All write; the agent drains. 256
 * KiB hold some 4,000 of them: two minutes of one flooding outcome while the agent restarts. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 256 * 1024);
} cv_refusals SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, CV_OUT_END);
    __type(key, __u32);
    __type(value, struct cv_rate);
} cv_rates SEC(".maps");

/* What a socket that connected carries: an app's captured or self call, a DNS socket, or a connection of the
 * node. capture writes, and deletes it first at every connect (S2); flows completes it; getpeername and close
 * read it. */
enum cv_client_kind { CV_CLIENT_CAPTURED = 1, CV_CLIENT_SELF = 2, CV_CLIENT_DNS = 3, CV_CLIENT_NODE = 4 };
struct cv_client {
    struct cv_address original;
    struct cv_flow flow; /* TCP: since CONNECT_CB; DNS: the destination is the listener that it was sent to */
    __u32 kind;
    __u32 role;
    __u32 pod;
    __u32 isn;
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_client);
} cv_client_sk SEC(".maps");

/* An MPTCP socket's own copy of its first subflow's original destination: getpeername asks there (S13). */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_address);
} cv_mptcp_sk SEC(".maps");

/* Tag of every socket that ztunnel creates. answer writes it at socket() and when the client is told; flows
 * completes it. Absent: not ztunnel's. */
struct cv_ours {
    struct cv_address client; /* unspecified: did not say */
    struct cv_flow flow;
    __u32 pod;
    __u32 isn;
    __u32 bound;
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_ours);
} cv_ours_sk SEC(".maps");

/* A listener of ztunnel, inherited by what it accepts. answer writes the role, flows the port at listen(). */
struct cv_listener {
    __u32 role;
    __u32 port;
};
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, struct cv_listener);
} cv_listener_sk SEC(".maps");

/* A socket that ztunnel accepted for an app's connect: its original destination. flows writes; answer reads.
 */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_address);
} cv_accepted_sk SEC(".maps");

/* A socket that an app accepted from ztunnel: the real client. flows writes; getpeername and accept read. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct cv_address);
} cv_peer_sk SEC(".maps");

#endif
