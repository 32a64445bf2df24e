/* SPDX-License-Identifier: MIT */
/* Host stand-in for threads: there is one. A wait calls host_idle() until its condition holds; a test's fake
 * device does its work there. A sleep that was announced ends only with a wake after the announcement; what
 * an interrupt might do right before that, a test does in host_before_sleep(). */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <arch/clock.h>
#include <kernel/base/error.h>
#include <kernel/base/list.h>
#include <kernel/spinlock.h>

struct block_plug;
struct thread {
    struct block_plug *plug;
    bool is_asleep; /* or about to be */
};
extern struct thread host_thread;
static inline struct thread *thread_current(void)
{
    return &host_thread;
}
extern void (*host_before_sleep)(void);
static inline bool thread_wake(struct thread *thread)
{
    bool was_asleep = thread->is_asleep;
    thread->is_asleep = false;
    return was_asleep;
}
static inline void thread_prepare_sleep(const char *why, const void *object)
{
    (void)why, (void)object;
    if (host_before_sleep)
        host_before_sleep();
    host_thread.is_asleep = true;
}
static inline void thread_cancel_sleep(void)
{
    host_thread.is_asleep = false;
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
