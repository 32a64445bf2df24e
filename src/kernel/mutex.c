/* SPDX-License-Identifier: MIT */
/* Mutexes. Free and uncontended: one compare-and-exchange each way.
 *
 * A waiter stays on the list until it has the mutex or gives up. An unlock wakes the first, and whoever comes
 * first takes it, which is faster than handing it over; but a waiter that was woken and still came too late
 * is handed the mutex at the next unlock, so nobody starves.
 *
 * No wake-up is lost: a waiter is on the list before it looks at the owner for the last time, an unlock
 * clears the owner before it looks at the list, each with a full barrier between; and a waiter that gives up
 * passes on a wake-up that it may have got.
 *
 * Lock: waiters.lock; order: wait_queue -> run_queue. Thread context only. */
#include <kernel/mutex.h>

struct mutex_waiter {
    struct waiter waiter;
    bool was_passed_over; /* a */
};

void mutex_init(struct mutex *mutex, const char *name)
{
    *mutex = (struct mutex)MUTEX_INIT(*mutex, name);
    wait_queue_init(&mutex->waiters);
}

static struct thread *owner_of(const struct mutex *mutex)
{
    return __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
}

static always_inline bool take(struct mutex *mutex, struct thread *self)
{
    struct thread *expected = NULL;
    return __atomic_compare_exchange_n(&mutex->owner, &expected, self, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* waiters.lock held. */
static void wake_first(struct mutex *mutex)
{
    assert_spin_locked(&mutex->waiters.lock);
    if (!list_is_empty(&mutex->waiters.waiters))
        thread_wake(list_entry(mutex->waiters.waiters.next, struct waiter, node)->thread);
}

/* The mutex taken or, after the deadline, not. */
static int sleep_until_taken(struct mutex *mutex, struct mutex_waiter *me, uint64_t deadline_ns)
{
    for (int result = 0;;) {
        thread_prepare_sleep("mutex", mutex);
        if (owner_of(mutex) == me->waiter.thread || take(mutex, me->waiter.thread))
            return 0;
        if (result != 0)
            return result;
        result = sched_sleep_until(deadline_ns);
        write_once(me->was_passed_over, true);
    }
}

static noinline int lock_contended(struct mutex *mutex, struct thread *self, uint64_t deadline_ns)
{
    struct mutex_waiter me = {.waiter.thread = self};
    assert(owner_of(mutex) != self); /* not recursive */
    uint64_t flags = spin_lock_irq(&mutex->waiters.lock);
    list_push_back(&mutex->waiters.waiters, &me.waiter.node);
    spin_unlock_irq(&mutex->waiters.lock, flags);
    int result = sleep_until_taken(mutex, &me, deadline_ns);
    thread_cancel_sleep();
    flags = spin_lock_irq(&mutex->waiters.lock);
    list_remove(&me.waiter.node);
    if (result != 0 && owner_of(mutex) == self) /* handed over at the last moment */
        result = 0;
    else if (result != 0 && owner_of(mutex) == NULL)
        wake_first(mutex);
    spin_unlock_irq(&mutex->waiters.lock, flags);
    return result;
}

int mutex_lock_until(struct mutex *mutex, uint64_t deadline_ns)
{
    struct thread *self = thread_current();
    lockdep_might_sleep("mutex_lock");
    lockdep_acquire_at(&mutex->dep, mutex, LOCKDEP_SLEEPING, false, __builtin_return_address(0));
    if (likely(take(mutex, self)))
        return 0;
    int result = lock_contended(mutex, self, deadline_ns);
    if (result != 0)
        lockdep_release(&mutex->dep, mutex);
    return result;
}

void mutex_lock(struct mutex *mutex)
{
    struct thread *self = thread_current();
    lockdep_might_sleep("mutex_lock");
    lockdep_acquire_at(&mutex->dep, mutex, LOCKDEP_SLEEPING, false, __builtin_return_address(0));
    if (unlikely(!take(mutex, self)))
        (void)lock_contended(mutex, self, WAIT_FOREVER);
    debug_assert(mutex_is_held(mutex));
}

bool mutex_try_lock(struct mutex *mutex)
{
    if (!take(mutex, thread_current()))
        return false;
    lockdep_acquire_at(&mutex->dep, mutex, LOCKDEP_SLEEPING, true, __builtin_return_address(0));
    return true;
}

static noinline void unlock_contended(struct mutex *mutex)
{
    SPIN_SCOPED_IRQ(&mutex->waiters.lock);
    struct thread *next = NULL;
    if (!list_is_empty(&mutex->waiters.waiters)) {
        struct list *first = mutex->waiters.waiters.next;
        struct mutex_waiter *waiter = list_entry(first, struct mutex_waiter, waiter.node);
        next = read_once(waiter->was_passed_over) ? waiter->waiter.thread : NULL;
    }
    __atomic_store_n(&mutex->owner, next, __ATOMIC_RELEASE);
    wake_first(mutex);
}

void mutex_unlock(struct mutex *mutex)
{
    assert(mutex_is_held(mutex));
    lockdep_release(&mutex->dep, mutex);
    if (unlikely(!list_is_empty(&mutex->waiters.waiters))) {
        unlock_contended(mutex);
        return;
    }
    __atomic_store_n(&mutex->owner, NULL, __ATOMIC_SEQ_CST);
    if (likely(read_once(mutex->waiters.waiters.next) == &mutex->waiters.waiters))
        return;
    SPIN_SCOPED_IRQ(&mutex->waiters.lock); /* one came between the two looks */
    if (owner_of(mutex) == NULL)
        wake_first(mutex);
}

bool mutex_is_held(const struct mutex *mutex)
{
    return owner_of(mutex) == thread_current();
}
