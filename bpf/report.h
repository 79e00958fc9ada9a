/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
 *
 * Outcome counters and the ring buffer of refusals: every way out of a program goes through here, so that
 * nothing vanishes silently. Counters are exact; events are bounded per outcome and second, so that a flood
 * costs a counter only. */
#ifndef CULVERT_BPF_REPORT_H
#define CULVERT_BPF_REPORT_H

#include "bpf/maps.h"

static __always_inline void cv_count(enum cv_outcome outcome) {
    __u32 key = outcome;
    __u64* counter = bpf_map_lookup_elem(&cv_counters, &key);
    if (counter) __sync_fetch_and_add(counter, 1); /* a softirq may interrupt a connect() on this CPU */
}

/* The window is not exact across CPUs, and need not be. */
static __always_inline bool cv_may_tell(enum cv_outcome outcome, __u64 now_ns) {
    __u32 key = outcome;
    __u64 second = now_ns / 1000000000;
    struct cv_rate* rate = bpf_map_lookup_elem(&cv_rates, &key);
    if (!rate) return false; /* an outcome is always within the array */
    if (rate->second != second) {
        rate->second = second;
        rate->used = 0;
    }
    return __sync_fetch_and_add(&rate->used, 1) < CV_REFUSALS_PER_SECOND;
}

static __always_inline void cv_refused(enum cv_outcome outcome, __u32 pod, const struct cv_flow* flow) {
    __u64 now_ns = bpf_ktime_get_ns();
    cv_count(outcome);
    if (!cv_may_tell(outcome, now_ns)) return; /* counted all the same */
    struct cv_refusal* event = bpf_ringbuf_reserve(&cv_refusals, sizeof *event, 0);
    if (!event) return; /* nobody drains: counted all the same */
    event->time_ns = now_ns;
    event->outcome = outcome;
    event->pod = pod;
    event->flow = *flow;
    bpf_ringbuf_submit(event, 0);
}

#endif
