/* SPDX-License-Identifier: MIT */
/* A completion: one event, one waiter. The whole of it is one word, so that signalling costs an exchange:
 * 0 not done, 1 done, else the waiting thread. After complete() has exchanged the word it does not touch
 * the completion again: the waiter may free it at once.
 *
 * completion_init before each use. complete(): any context, exactly once a use. */
#ifndef KERNEL_COMPLETION_H
#define KERNEL_COMPLETION_H

#include <kernel/thread.h>

#define COMPLETION_DONE 1ul

static inline void completion_init(struct completion *completion)
{
    __atomic_store_n(&completion->state, 0, __ATOMIC_RELAXED);
}

/* Pairs with the acquire in completion_is_done: what was written before is seen by the waiter. */
static inline void complete(struct completion *completion)
{
    uintptr_t old = __atomic_exchange_n(&completion->state, COMPLETION_DONE, __ATOMIC_ACQ_REL);
    if (old > COMPLETION_DONE)
        thread_wake((struct thread *)old);
}

static inline bool completion_is_done(const struct completion *completion)
{
    return __atomic_load_n(&completion->state, __ATOMIC_ACQUIRE) == COMPLETION_DONE;
}

/* Sleeps until done; thread context. */
void completion_wait(struct completion *completion);
/* 0, or -ETIMEDOUT: it may still be signalled later, so it must outlive that. */
must_check int completion_wait_until(struct completion *completion, uint64_t deadline_ns);

#endif
