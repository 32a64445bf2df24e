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

#endif
