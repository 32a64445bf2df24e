/* SPDX-License-Identifier: MIT */
/* Host stand-in for completions. */
#ifndef KERNEL_COMPLETION_H
#define KERNEL_COMPLETION_H

#include <kernel/sched.h>

struct completion {
    bool is_done;
};
static inline void completion_init(struct completion *completion)
{
    completion->is_done = false;
}
static inline void complete(struct completion *completion)
{
    assert(!completion->is_done);
    completion->is_done = true;
}
static inline bool completion_is_done(const struct completion *completion)
{
    return completion->is_done;
}
static inline void completion_wait(struct completion *completion)
{
    while (!completion->is_done)
        sched_sleep();
}
/* Somebody else moves the clock meanwhile. */
static inline int completion_wait_until(struct completion *completion, uint64_t deadline_ns)
{
    while (!completion->is_done && clock_ns() < deadline_ns)
        sched_sleep();
    return completion->is_done ? 0 : -ETIMEDOUT;
}

#endif
