/* SPDX-License-Identifier: MIT */
/* Sleeping locks with an owner, and condition variables. Thread context only. As mutex_unlock looks for
 * waiters after it has given the mutex up, whoever frees the object that holds one must know that nobody
 * unlocks. */
#ifndef KERNEL_MUTEX_H
#define KERNEL_MUTEX_H

#include <kernel/wait.h>

struct mutex {
    struct thread *owner; /* a: NULL when free */
    struct wait_queue waiters;
    struct lockdep_key dep;
};
#define MUTEX_INIT(mutex, name)                                                              \
    {                                                                                        \
        .owner = NULL, .waiters = WAIT_QUEUE_INIT((mutex).waiters), .dep = LOCKDEP_KEY(name) \
    }
/* `name`: its lockdep class, a literal. */
void mutex_init(struct mutex *mutex, const char *name);
void mutex_lock(struct mutex *mutex);
/* 0 or -ETIMEDOUT. */
must_check int mutex_lock_until(struct mutex *mutex, uint64_t deadline_ns);
must_check bool mutex_try_lock(struct mutex *mutex);
/* By the owner only. */
void mutex_unlock(struct mutex *mutex);
bool mutex_is_held(const struct mutex *mutex); /* by the caller */

static inline void mutex_scope_end(struct mutex **mutex)
{
    mutex_unlock(*mutex);
}
#define MUTEX_SCOPED(m)                                                        \
    __attribute__((cleanup(mutex_scope_end))) struct mutex *mutex_scope = (m); \
    mutex_lock(mutex_scope)

struct condition {
    struct wait_queue waiters;
};
void condition_init(struct condition *condition);
/* Unlocks, sleeps until a signal (spurious returns are possible), locks again. */
void condition_wait(struct condition *condition, struct mutex *mutex);
/* 0 or -ETIMEDOUT; the mutex is held either way. */
must_check int condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline_ns);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

#endif
