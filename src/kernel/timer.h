/* SPDX-License-Identifier: MIT */
/* One-shot timers, per CPU, on the LAPIC's one-shot timer: no periodic tick. */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include <kernel/base/types.h>

/* Owner's, who also keeps calls for one timer from running at once; zero it before the first timer_start. */
struct timer {
    uint64_t deadline_ns;
    void (*expired)(struct timer *timer);     /* interrupt context; may start it again */
    struct timer *child, *sibling, *previous; /* the CPU's pairing heap */
    uint32_t cpu_plus_1; /* that heap's lock, read without: whose heap it is in; 0: not started */
};

void timer_init_cpu(uint32_t cpu);
/* Calls `expired` on this CPU at `deadline_ns` or soon after. Restarts one that is pending. Any context. */
void timer_start(struct timer *timer, uint64_t deadline_ns);
/* True when it was pending and now will not fire. On false it has fired, is firing on another CPU (waits
 * until that call has returned, so not from within `expired`), or was never started. */
bool timer_cancel(struct timer *timer);

/* Runs what is due on this CPU and programs the next deadline. Interrupts off. The scheduler's slice end
 * shares the hardware timer: timer_internal.h. */
void timer_run(void);

#endif
