/* SPDX-License-Identifier: MIT */
/* Counting semaphores. The count never goes below 0: who finds 0 sleeps on the wait queue until an up, which
 * counts before it wakes, lets it try again. */
#include <kernel/semaphore.h>

void semaphore_init(struct semaphore *semaphore, uint32_t count)
{
    semaphore->count = count;
    wait_queue_init(&semaphore->waiters);
}

bool semaphore_try_down(struct semaphore *semaphore)
{
    uint32_t count = __atomic_load_n(&semaphore->count, __ATOMIC_RELAXED);
    while (count != 0)
        if (__atomic_compare_exchange_n(&semaphore->count, &count, count - 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

int semaphore_down_until(struct semaphore *semaphore, uint64_t deadline_ns)
{
    return wait_event_until(&semaphore->waiters, semaphore_try_down(semaphore), deadline_ns);
}

void semaphore_down(struct semaphore *semaphore)
{
    wait_event(&semaphore->waiters, semaphore_try_down(semaphore));
}

void semaphore_up(struct semaphore *semaphore)
{
    uint32_t before = __atomic_fetch_add(&semaphore->count, 1, __ATOMIC_SEQ_CST);
    assert(before != UINT32_MAX);
    wait_wake(&semaphore->waiters, 1);
}
