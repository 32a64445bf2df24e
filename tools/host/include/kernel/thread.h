/* SPDX-License-Identifier: MIT */
/* Host stand-in for threads: there is one. A wait calls host_idle() until its condition holds; a test's fake
 * device does its work there. */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <arch/clock.h>
#include <kernel/base/error.h>
#include <kernel/base/list.h>
#include <kernel/spinlock.h>

struct block_plug;
struct thread {
    struct block_plug *plug;
};
extern struct thread host_thread;
static inline struct thread *thread_current(void)
{
    return &host_thread;
}
static inline bool thread_wake(struct thread *thread)
{
    (void)thread;
    return true;
}
static inline void thread_prepare_sleep(const char *why, const void *object)
{
    (void)why, (void)object;
}
static inline void thread_cancel_sleep(void)
{
}
static inline void thread_sleep_ns(uint64_t ns)
{
    host_clock_ns += ns;
}
/* What happens while the one thread sleeps: set by the test. Without it a sleep is an assertion failure. */
extern void (*host_idle)(void);
void sched_sleep(void);
static inline void preempt_disable(void)
{
}
static inline void preempt_enable(void)
{
}

#endif
