/* SPDX-License-Identifier: MIT */
/* Wait queues: threads that sleep until a condition holds. Deadlines are absolute clock_ns() times;
 * WAIT_FOREVER for none. Sleeping calls: thread context. Wakes: any context. */
#ifndef KERNEL_WAIT_H
#define KERNEL_WAIT_H

#include <kernel/base/error.h>
#include <kernel/base/list.h>
#include <kernel/sched.h>
#include <kernel/spinlock.h>

#define WAIT_FOREVER UINT64_MAX

struct wait_queue {
    struct spinlock lock;
    struct list waiters; /* lock: struct waiter, first come first */
};
struct waiter {
    struct list node;
    struct thread *thread;
};

#define WAIT_QUEUE_INIT(queue)                                                     \
    {                                                                              \
        .lock = SPINLOCK_INIT("wait_queue"), .waiters = LIST_INIT((queue).waiters) \
    }
void wait_queue_init(struct wait_queue *queue);

/* Puts the caller on the queue (at most once) and announces the sleep. */
void wait_prepare(struct wait_queue *queue, struct waiter *waiter, const char *why);
/* Takes it off again, whoever woke it. True when a wait_wake had picked it. */
bool wait_finish(struct wait_queue *queue, struct waiter *waiter);

/* Wakes up to `count` waiters, first come first; how many that were. They leave the queue by the wake, so
 * that two wakes never pick the same one. */
unsigned wait_wake(struct wait_queue *queue, unsigned count);
static inline unsigned wait_wake_all(struct wait_queue *queue)
{
    return wait_wake(queue, UINT32_MAX);
}

/* Sleeps until `condition` is true, evaluated without locks: 0, or -ETIMEDOUT after `deadline_ns` with the
 * condition still false. */
#define wait_event_until(queue, condition, deadline_ns)       \
    ({                                                        \
        int wait_result = 0;                                  \
        if (!(condition)) {                                   \
            struct waiter wait_me = {.thread = NULL};         \
            for (;;) {                                        \
                wait_prepare((queue), &wait_me, #condition);  \
                if (condition) {                              \
                    wait_result = 0;                          \
                    break;                                    \
                }                                             \
                if (wait_result != 0)                         \
                    break;                                    \
                wait_result = sched_sleep_until(deadline_ns); \
            }                                                 \
            wait_finish((queue), &wait_me);                   \
        }                                                     \
        wait_result;                                          \
    })
#define wait_event(queue, condition) ((void)wait_event_until((queue), (condition), WAIT_FOREVER))

#endif
