/* SPDX-License-Identifier: MIT */
/* Host stand-in for the scheduler: deferred calls are made when the one thread sleeps. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include <kernel/thread.h>

struct sched_deferred {
    struct fifo_node node;
    void (*call)(struct sched_deferred *deferred);
    bool is_pending;
};
void sched_defer(struct sched_deferred *deferred);
void sched_run_deferred(void);
/* The test's choice. */
extern bool host_defers;
static inline bool sched_is_worth_deferring(void)
{
    return host_defers;
}
static inline void sched_wait_for_cpus(void)
{
}
static inline void sched_wake_batch_begin(void)
{
}
static inline void sched_wake_batch_end(void)
{
}

#endif
