/* SPDX-License-Identifier: MIT */
/* The lock checker of debug builds. Locks of one name are one class. It learns "B taken while A is held"
 * and panics, with both sites, at: an order that closes a cycle; a class that an interrupt handler takes
 * and that was also taken with interrupts on; a recursive acquire; sleeping with a spinlock held, in an
 * interrupt, or with preemption off. In release builds everything here is empty. */
#ifndef KERNEL_LOCKDEP_H
#define KERNEL_LOCKDEP_H

#include <kernel/base/assert.h>
#include <kernel/base/types.h>

enum lockdep_kind { LOCKDEP_SPIN, LOCKDEP_SPIN_IRQ, LOCKDEP_SLEEPING };

#ifdef UMBRA_DEBUG
#define LOCKDEP_HELD_MAX 12

struct lockdep_key {
    const char *name;
    uint32_t class_id; /* a: 0: not looked up yet */
};
/* What one CPU (spinlocks) or one thread (sleeping locks) holds. */
struct lockdep_held {
    const void *lock, *site; /* site: an address in the function that took it */
    uint32_t class_id;
};
struct lockdep_stack {
    uint32_t depth;
    struct lockdep_held held[LOCKDEP_HELD_MAX];
};
#define LOCKDEP_KEY(n) \
    {                  \
        .name = (n)    \
    }
/* Before the lock is taken, so that a deadlock is told rather than met. `site`: NULL for the caller. A try
 * is recorded as held, but it cannot deadlock and so teaches no order. */
void lockdep_acquire(struct lockdep_key *key, const void *lock, enum lockdep_kind kind);
void lockdep_acquire_at(struct lockdep_key *key, const void *lock, enum lockdep_kind kind, bool is_try,
                        const void *site);
void lockdep_release(struct lockdep_key *key, const void *lock);
/* Panics where the caller must not sleep. `what` names the call. */
void lockdep_might_sleep(const char *what);
/* Panics unless the calling context holds it. */
void lockdep_assert_held(const struct lockdep_key *key, const void *lock);
/* For panic: from now on nothing is checked. */
void lockdep_disable(void);
/* For tests: reports go to `hook` instead of a panic; NULL ends that. */
void lockdep_set_report_hook(void (*hook)(const char *text));
#else
struct lockdep_key {
};
#define LOCKDEP_KEY(n) \
    {                  \
    }
static always_inline void lockdep_acquire(struct lockdep_key *key, const void *lock, enum lockdep_kind kind)
{
    (void)key, (void)lock, (void)kind;
}
static always_inline void lockdep_acquire_at(struct lockdep_key *key, const void *lock,
                                             enum lockdep_kind kind, bool is_try, const void *site)
{
    (void)key, (void)lock, (void)kind, (void)is_try, (void)site;
}
static always_inline void lockdep_release(struct lockdep_key *key, const void *lock)
{
    (void)key, (void)lock;
}
static always_inline void lockdep_might_sleep(const char *what)
{
    (void)what;
}
static always_inline void lockdep_assert_held(const struct lockdep_key *key, const void *lock)
{
    (void)key, (void)lock;
}
static always_inline void lockdep_disable(void)
{
}
#endif

#endif
