/* SPDX-License-Identifier: MIT */
/* Condition variables. The waiter is on the queue before the mutex is free, so a signal after that finds it.
 * A wait whose limit ran out while a signal picked it counts as signalled: else that signal would be lost. */
#include <kernel/mutex.h>

void condition_init(struct condition *condition)
{
    wait_queue_init(&condition->waiters);
}

static int wait(struct condition *condition, struct mutex *mutex, uint64_t deadline_ns)
{
    struct waiter me = {.thread = NULL};
    assert(mutex_is_held(mutex));
    wait_prepare(&condition->waiters, &me, "condition");
    mutex_unlock(mutex);
    int result = sched_sleep_until(deadline_ns);
    bool was_signalled = wait_finish(&condition->waiters, &me);
    mutex_lock(mutex);
    return was_signalled ? 0 : result;
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    wait(condition, mutex, WAIT_FOREVER);
}

int condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline_ns)
{
    return wait(condition, mutex, deadline_ns);
}

void condition_signal(struct condition *condition)
{
    wait_wake(&condition->waiters, 1);
}

void condition_broadcast(struct condition *condition)
{
    wait_wake_all(&condition->waiters);
}
