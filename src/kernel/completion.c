/* SPDX-License-Identifier: MIT */
/* Waiting for a completion. The waiter puts itself into the word by one compare-and-exchange, after it has
 * announced its sleep: complete() that comes before it is seen by the exchange, complete() that comes after
 * finds the waiter, and its thread_wake finds the announcement. The exchange is the barrier between the two,
 * so the announcement is a plain store. Thread context. */
#include <kernel/completion.h>
#include <kernel/sched.h>
#include <kernel/wait.h>

/* False when it was done already. */
static always_inline bool register_waiter(struct completion *completion, struct thread *self)
{
    uintptr_t expected = 0;
    self->waiting_for = completion;
    self->waiting_why = "completion";
    write_once(self->state, THREAD_BLOCKED);
    if (likely(__atomic_compare_exchange_n(&completion->state, &expected, (uintptr_t)self, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)))
        return true;
    assert(expected == COMPLETION_DONE); /* one waiter */
    thread_cancel_sleep();
    return false;
}

void completion_wait(struct completion *completion)
{
    lockdep_might_sleep("completion_wait");
    if (!register_waiter(completion, thread_current()))
        return;
    for (;;) {
        sched_sleep();
        if (likely(completion_is_done(completion)))
            return;
        thread_prepare_sleep("completion", completion);
        if (completion_is_done(completion))
            break;
    }
    thread_cancel_sleep();
}

int completion_wait_until(struct completion *completion, uint64_t deadline_ns)
{
    struct thread *self = thread_current();
    int result = 0;
    lockdep_might_sleep("completion_wait_until");
    if (!register_waiter(completion, self))
        return 0;
    while (result == 0) {
        result = sched_sleep_until(deadline_ns);
        if (completion_is_done(completion))
            return 0;
        thread_prepare_sleep("completion", completion);
        if (completion_is_done(completion))
            break;
    }
    thread_cancel_sleep();
    /* Too late for complete() to find us, or it came meanwhile. */
    uintptr_t expected = (uintptr_t)self;
    if (result != 0 && __atomic_compare_exchange_n(&completion->state, &expected, 0, false, __ATOMIC_ACQ_REL,
                                                   __ATOMIC_ACQUIRE))
        return result;
    return 0;
}
