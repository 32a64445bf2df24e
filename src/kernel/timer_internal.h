/* SPDX-License-Identifier: MIT */
/* The scheduler's share of a CPU's one-shot timer: the end of the running thread's slice. It moves at each
 * context switch while the hardware, dear to write, is left alone as long as it fires early enough: when it
 * fires too early, timer_run sets it anew. */
#ifndef KERNEL_TIMER_INTERNAL_H
#define KERNEL_TIMER_INTERNAL_H

#include <kernel/spinlock.h>
#include <kernel/timer.h>

/* Lock legend: q `lock`; a atomic; c this CPU with interrupts off. The lock is a leaf. */
struct timer_cpu {
    struct spinlock lock;
    struct timer *heap;    /* q: root of a pairing heap, the earliest deadline */
    struct timer *running; /* a: whose `expired` runs now; for timer_cancel elsewhere */
    uint64_t hardware_ns;  /* c: when the LAPIC will interrupt; UINT64_MAX: it will not */
    uint64_t slice_ns;     /* c: UINT64_MAX for none */
} aligned(CACHE_LINE_BYTES);

extern struct timer_cpu timer_cpus[];

/* Sets the hardware to `deadline_ns`. On `timers`' CPU, interrupts off. */
preserve_registers void timer_program(struct timer_cpu *timers, uint64_t deadline_ns);

/* UINT64_MAX: no slice end. On `timers`' CPU, interrupts off. */
static always_inline void timer_set_slice(struct timer_cpu *timers, uint64_t deadline_ns)
{
    timers->slice_ns = deadline_ns;
    if (unlikely(deadline_ns < timers->hardware_ns))
        timer_program(timers, deadline_ns);
}

#endif
