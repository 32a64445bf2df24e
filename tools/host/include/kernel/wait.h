/* SPDX-License-Identifier: MIT */
/* Host stand-in for wait queues. */
#ifndef KERNEL_WAIT_H
#define KERNEL_WAIT_H

#include <kernel/sched.h>

#define WAIT_FOREVER UINT64_MAX
struct wait_queue {
    unsigned wakes;
};
static inline void wait_queue_init(struct wait_queue *queue)
{
    queue->wakes = 0;
}
static inline unsigned wait_wake(struct wait_queue *queue, unsigned count)
{
    (void)count;
    return queue->wakes++, 1;
}
static inline unsigned wait_wake_all(struct wait_queue *queue)
{
    return wait_wake(queue, UINT32_MAX);
}
#define wait_event(queue, condition) \
    do {                             \
        (void)(queue);               \
        while (!(condition))         \
            sched_sleep();           \
    } while (0)

/* Time passes in host_idle, so that is called once more than the deadline allows. */
#define wait_event_until(queue, condition, deadline_ns)       \
    ({                                                        \
        uint64_t wait_deadline_ns = (deadline_ns);            \
        (void)(queue);                                        \
        while (!(condition) && clock_ns() < wait_deadline_ns) \
            sched_sleep();                                    \
        (condition) ? 0 : -ETIMEDOUT;                         \
    })

#endif
